"""Registry, table, bucket, endpoint, metrics and time of a deployer, and its reconciles.

Every reconcile can be stopped before each call to the outside, until somebody lets it go on or die.
"""

import _thread
import functools
import io
import json
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from serving_runtime.canary import Figures, Rules
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError, UnreadableError
from serving_runtime.item import from_item, to_item
from serving_runtime.ports import Archive, Description, Package, Ports
from serving_runtime.reconcile import reconcile
from serving_runtime.record import Record
from serving_runtime.settings import Settings
from serving_runtime.wishes import metadata_of

GROUP = "loans"
CALLS = (
    "read", "approved", "describe", "present", "fetch", "publish", "predict", "figures", "conclude",
    "concluding", "write", "written", "delete", "warm",
)  # fmt: skip
BAKE, GRACE, LIFETIME, REMEMBERED = 30, 60, 15, 3  # minutes: the last are Lambda's limit, and a reader's
SETTINGS = Settings(
    endpoint_name="models",
    table_name="records",
    groups=(GROUP,),
    artifact_bucket="data",
    max_unpacked_bytes=10**6,
    grace_seconds=60 * GRACE,
    canary=Rules(bake_seconds=60 * BAKE),
)
START = datetime(2026, 1, 1, tzinfo=UTC)
LEAST_REQUESTS = SETTINGS.canary.least_requests
FULL, CANARY = "full", "canary"


class DiedError(BaseException):
    """The function's process ends here; nothing in it may catch that."""


@dataclass
class Version:
    """A package of the registry; a model that is not `good` answers its golden rows wrongly.

    `health`: what callers get from it: `well`, `failing` or `slow`.
    """

    good: bool
    health: str
    status: str = "PendingManualApproval"
    metadata: dict = field(default_factory=dict)
    changed: str = ""

    def decide(self, how, now):
        """As `modelyard approve`, `approve --canary`, `reject`, and AWS's own CLI, which leaves metadata."""
        self.status = "Rejected" if how == "reject" else "Approved"
        self.changed = now
        if how == FULL:
            self.metadata = {}
        elif how == CANARY:
            self.metadata = {"canary-percent": "10"}

    @property
    def is_wish(self):
        return "canary-percent" in self.metadata and self.metadata.get("canary-verdict") != "promoted"


@functools.cache
def archive_of(version):
    golden = {"instances": [{"row": 1}], "predictions": [version], "tolerance": 1e-4}
    manifest = json.dumps({"schema": 1, "golden": golden}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(manifest)
        tar.addfile(entry, io.BytesIO(manifest))
    return packed.getvalue(), f"{version:064x}"


class World:
    """Registry, table, bucket, endpoint, metrics, and the time."""

    def __init__(self):
        self.versions = {}
        self.item, self._record = None, Record(group=GROUP)
        self.bucket = {}
        self.lost, self.ever_lost, self.approved_once = set(), set(), set()
        self.storage_fails = self.registry_fails = False
        self.traffic = True
        self.minutes = 0

    def now(self):
        return (START + timedelta(minutes=self.minutes)).isoformat()

    def record(self):
        return self._record

    def decide(self, number, how):
        self.versions[number].decide(how, self.now())
        if self.versions[number].status == "Approved":
            self.approved_once.add(number)

    def lose(self, artifact):
        del self.bucket[artifact]
        self.lost.add(artifact)
        self.ever_lost.add(artifact)

    def write(self, record, expected, seen):
        actual = int(self.item["generation"]["N"]) if self.item else 0
        if actual != expected:
            raise OutdatedError(f"{actual} is not {expected}")
        self._check_previous(record)
        self._check_grounds(record, seen)
        self.item = to_item(record)
        self._record = from_item(self.item)

    def _check_previous(self, new):
        """What served last, or would be lost, is what could serve again at once."""
        old = self._record
        served = old.serving and (not new.serving or new.serving.package_arn != old.serving.package_arn)
        kept = old.serving if served else old.previous
        assert new.previous == kept or (new.previous is None and kept.artifact in self.ever_lost)

    def _check_grounds(self, new, seen):
        """The registry's word for every change; without any, all stays."""
        before = {deployment.version for deployment in self._record.answering}
        for deployment in new.answering:
            assert deployment.version in before or deployment.version in (seen.listed or ())
            assert deployment.version not in seen.refused
        old = self._record.serving
        if old and not new.serving:
            assert seen.listed is not None
            assert old.version not in seen.listed or old.version in seen.refused

    def check_promotion(self, version, verdict, seen):
        """After the time and the requests that it takes; a version alone has nothing to wait for."""
        canary = seen.record.canary
        if verdict.outcome == "promoted" and "no other approved" not in verdict.reason:
            assert canary.deployment.version == version
            since = datetime.fromisoformat(canary.deployment.since)
            assert datetime.fromisoformat(verdict.at) - since >= timedelta(minutes=BAKE)
            assert min(figures.requests for figures in seen.figures_of.values()) >= LEAST_REQUESTS

    def ports(self, process):
        outside = Outside(self, process)
        return Ports(registry=outside, records=outside, artifacts=outside, endpoint=outside, metrics=outside)


def paused(call):
    """The process stops before the call."""

    @functools.wraps(call)
    def run(self, *args, **kwargs):
        self.process.pause(call.__name__)
        return call(self, *args, **kwargs)

    return run


class Outside:
    """What one process sees of the world, since its last look at the registry began.

    `listed`: versions that the registry calls approved, None while it does not answer; `refused`: those of
    them that it calls otherwise, one by one; `figures_of`: by version; `record`: as it was read last.
    """

    def __init__(self, world, process):
        self.world, self.process = world, process
        self.forget()

    def forget(self):
        self.listed, self.refused, self.figures_of = None, set(), {}

    def check_storage(self):
        if self.world.storage_fails:
            self.process.troubled = True
            raise DeployError("storage does not answer")

    def check_registry(self):
        if self.world.registry_fails:
            self.process.troubled = True
            raise UnreadableError("the registry does not answer")

    def known(self, arn):
        number = int(arn.removeprefix("arn:"))
        if number not in self.world.versions:
            raise OutdatedError(arn)
        return number, self.world.versions[number]

    @paused
    def approved(self, group):
        # Each look begins here.
        self.forget()
        self.check_registry()
        found = [v for v, version in self.world.versions.items() if version.status == "Approved"]
        self.listed = frozenset(found)
        return [Package(version=v, arn=f"arn:{v}") for v in sorted(found, reverse=True)]

    @paused
    def describe(self, arn):
        self.check_registry()
        number, version = self.known(arn)
        if version.status != "Approved":
            self.refused.add(number)
        return Description(
            approved=version.status == "Approved",
            model_data_url=str(number),
            metadata=dict(version.metadata),
            changed=version.changed,
        )

    @paused
    def conclude(self, package, verdict, *, changed):
        self.check_registry()
        _, version = self.known(package.arn)
        if version.status != "Approved" or not version.is_wish or version.changed != changed:
            raise OutdatedError(package.arn)
        # As on AWS: no condition, so that something may happen between the look and the update.
        self.process.pause("concluding")
        _, version = self.known(package.arn)
        self.world.check_promotion(package.version, verdict, self)
        version.metadata |= metadata_of(verdict)
        version.changed = self.world.now()
        if verdict.outcome == "rolled-back":
            version.status = "Rejected"

    @paused
    def read(self, group):
        self.record = self.world.record()
        return self.record

    @paused
    def write(self, record, *, expected):
        self.world.write(record, expected, self)
        self.process.pause("written")

    @contextmanager
    def fetch(self, url):
        self.process.pause("fetch")
        self.check_storage()
        packed, sha256 = archive_of(int(url))
        yield Archive(file=io.BytesIO(packed), sha256=sha256)

    @paused
    def publish(self, archive, artifact):
        self.check_storage()
        assert self.world.bucket.setdefault(artifact, archive.sha256) == archive.sha256
        self.world.lost.discard(artifact)

    @paused
    def present(self, group):
        self.check_storage()
        return frozenset(self.world.bucket)

    @paused
    def delete(self, artifact):
        self.check_storage()
        self.world.bucket.pop(artifact, None)

    @paused
    def predict(self, artifact, instances):
        if artifact not in self.world.bucket:
            self.process.troubled = True
            raise DeployError("the endpoint finds no artifact")
        number = version_of(artifact)
        version = self.world.versions.get(number)
        return [number if version is None or version.good else -1]

    @paused
    def warm(self, artifact, instances):
        if artifact not in self.world.bucket:
            raise DeployError("the endpoint finds no artifact")

    @paused
    def figures(self, group, version, *, since, until):
        known_version = self.world.versions.get(version)
        health = known_version.health if known_version else "well"
        elapsed = datetime.fromisoformat(until) - datetime.fromisoformat(since)
        requests = round(elapsed.total_seconds() / 60) * 20 * self.world.traffic
        errors = requests // 2 if health == "failing" else 0
        p90 = 200.0 if health == "slow" else 20.0
        self.figures_of[version] = figures = Figures(requests=requests, errors=errors, p90_ms=p90)
        return figures


def version_of(artifact):
    return int(artifact.split("/")[1].split("-")[0])


class Reader:
    """The inference function: remembers which artifacts answer, for a while."""

    def __init__(self, world):
        self._world, self._read_at, self._record = world, -10_000, None

    def ask(self, *, canary):
        """One request; it must be answered by a model that was approved once, and be answered at all."""
        if not self._remembers():
            self._read_at, self._record = self._world.minutes, self._world.record()
        return self._answer(canary)

    def check(self):
        """That a request would be answered, of whichever version, by what is remembered."""
        if self._remembers():
            self._answer(False)
            self._answer(True)

    def _remembers(self):
        return self._world.minutes - self._read_at <= REMEMBERED

    def _answer(self, canary):
        world, record = self._world, self._record
        deployment = record.canary.deployment if canary and record.canary else record.serving
        if deployment is None:
            return None
        assert deployment.artifact in world.bucket or deployment.artifact in world.lost, "a request failed"
        version = version_of(deployment.artifact)
        assert version in world.approved_once
        return version


class Reconcile:
    """One reconcile, which runs only while somebody waits in `go`; in a thread if it is to stop midway."""

    def __init__(self, world):
        self._world = world
        # Plain locks and threads: of all that takes turns, the fastest by far.
        self._go, self._paused = _thread.allocate_lock(), _thread.allocate_lock()
        self._started = False
        self._until, self._die = None, False
        self.started = world.minutes
        self.outcome = None
        self.before = "start"
        self.troubled = False

    def _run(self):
        try:
            reconcile(GROUP, self._world.ports(self), SETTINGS, now=self._world.now)
            self.outcome = "done"
        except ReconcileError as error:
            # A wrong model stays wrong: trying it again changes nothing.
            self.outcome = "done" if "golden row" in str(error) and not self.troubled else "failed"
        except DiedError:
            self.outcome = "died"
        except BaseException as error:
            self.outcome = error

    def _run_in_turn(self):
        self._run()
        self._paused.release()

    def pause(self, call):
        self.before = call
        if self._until not in (None, call):
            return
        self._paused.release()
        self._go.acquire()
        if self._die:
            raise DiedError

    def go(self, *, until=None, die=False):
        """Lets it run to its next call, to the next of the kind `until`, or die; returns whether it ended."""
        self._until, self._die = until, die
        if self._started:
            self._go.release()
        elif die:
            self.outcome = "died"
            return True
        elif until == "end":
            self._run()
            return True
        else:
            self._go.acquire()
            self._paused.acquire()
            self._started = True
            _thread.start_new_thread(self._run_in_turn, ())
        self._paused.acquire()
        return self.outcome is not None
