"""Registry, table, bucket, endpoint, metrics and time of a deployer, and its reconciles in threads.

Every reconcile stops before each call to the outside, until somebody lets it go on or die.
"""

import functools
import io
import json
import tarfile
import threading
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
BAKE, GRACE, LIFETIME, REMEMBERED = 30, 60, 15, 2  # minutes: the last are Lambda's limit, and a reader's
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
    was_approved: bool = False

    def decide(self, how, now):
        """As `modelyard approve`, `approve --canary`, `reject`, and AWS's own CLI, which leaves metadata."""
        self.status = "Rejected" if how == "reject" else "Approved"
        self.was_approved |= self.status == "Approved"
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
        self.item = None
        self.bucket = {}
        self.lost = set()
        self.storage_fails = self.registry_fails = False
        self.traffic = True
        self.minutes = 0

    def now(self):
        return (START + timedelta(minutes=self.minutes)).isoformat()

    def record(self):
        return from_item(self.item) if self.item else Record(group=GROUP)

    def ports(self, process):
        """The ports; the process stops before every call, and after a write."""
        world, pause = self, process.pause

        def check_storage():
            if world.storage_fails:
                process.troubled = True
                raise DeployError("storage does not answer")

        def check_registry():
            if world.registry_fails:
                process.troubled = True
                raise UnreadableError("the registry does not answer")

        def paused(call):
            @functools.wraps(call)
            def run(*args, **kwargs):
                pause(call.__name__)
                result = call(*args, **kwargs)
                if call.__name__ == "write":
                    pause("written")
                return result

            return run

        def known(arn):
            number = int(arn.removeprefix("arn:"))
            if number not in world.versions:
                raise OutdatedError(arn)
            return number, world.versions[number]

        class Outside:
            @paused
            def approved(self, group):
                check_registry()
                found = [v for v, version in world.versions.items() if version.status == "Approved"]
                return [Package(version=v, arn=f"arn:{v}") for v in sorted(found, reverse=True)]

            @paused
            def describe(self, arn):
                check_registry()
                number, version = known(arn)
                return Description(
                    approved=version.status == "Approved",
                    model_data_url=str(number),
                    metadata=dict(version.metadata),
                    changed=version.changed,
                )

            def conclude(self, package, verdict):
                pause("conclude")
                check_registry()
                _, version = known(package.arn)
                if version.status != "Approved" or not version.is_wish:
                    raise OutdatedError(package.arn)
                # As on AWS: no condition, so that something may happen between the look and the update.
                pause("concluding")
                _, version = known(package.arn)
                version.metadata |= metadata_of(verdict)
                version.changed = world.now()
                if verdict.outcome == "rolled-back":
                    version.status = "Rejected"

            @paused
            def read(self, group):
                return world.record()

            @paused
            def write(self, record, *, expected):
                actual = int(world.item["generation"]["N"]) if world.item else 0
                if actual != expected:
                    raise OutdatedError(f"{actual} is not {expected}")
                world.item = to_item(record)

            @contextmanager
            def fetch(self, url):
                pause("fetch")
                check_storage()
                packed, sha256 = archive_of(int(url))
                yield Archive(file=io.BytesIO(packed), sha256=sha256)

            @paused
            def publish(self, archive, artifact):
                check_storage()
                assert world.bucket.setdefault(artifact, archive.sha256) == archive.sha256
                world.lost.discard(artifact)

            @paused
            def present(self, group):
                check_storage()
                return frozenset(world.bucket)

            @paused
            def delete(self, artifact):
                check_storage()
                world.bucket.pop(artifact, None)

            @paused
            def predict(self, artifact, instances):
                if artifact not in world.bucket:
                    process.troubled = True
                    raise DeployError("the endpoint finds no artifact")
                number = version_of(artifact)
                version = world.versions.get(number)
                return [number if version is None or version.good else -1]

            @paused
            def warm(self, artifact, instances):
                if artifact not in world.bucket:
                    raise DeployError("the endpoint finds no artifact")

            @paused
            def figures(self, group, version, *, since, until):
                known_version = world.versions.get(version)
                health = known_version.health if known_version else "well"
                elapsed = datetime.fromisoformat(until) - datetime.fromisoformat(since)
                requests = round(elapsed.total_seconds() / 60) * 20 * world.traffic
                errors = requests // 2 if health == "failing" else 0
                return Figures(requests=requests, errors=errors, p90_ms=200.0 if health == "slow" else 20.0)

        outside = Outside()
        return Ports(registry=outside, records=outside, artifacts=outside, endpoint=outside, metrics=outside)


def version_of(artifact):
    return int(artifact.split("/")[1].split("-")[0])


class Reader:
    """The inference function: remembers which artifacts answer, for a while."""

    def __init__(self, world):
        self._world, self._read_at, self._record = world, -10_000, None

    def ask(self, *, canary):
        """One request; it must be answered by a model that was approved once, and be answered at all."""
        world = self._world
        if world.minutes - self._read_at > REMEMBERED:
            self._read_at, self._record = world.minutes, world.record()
        record = self._record
        deployment = record.canary.deployment if canary and record.canary else record.serving
        if deployment is None:
            return None
        assert deployment.artifact in world.bucket.keys() | world.lost, "a request failed"
        version = version_of(deployment.artifact)
        assert version not in world.versions or world.versions[version].was_approved
        return version


class Reconcile:
    """One reconcile in its thread, which runs only while somebody waits in `step`."""

    def __init__(self, world):
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._die = False
        self.started = world.minutes
        self.outcome = None
        self.before = "start"
        self.troubled = False
        self._thread = threading.Thread(target=self._run, args=(world,), daemon=True)
        self._thread.start()

    def _run(self, world):
        self._go.acquire()
        try:
            reconcile(GROUP, world.ports(self), SETTINGS, now=world.now)
            self.outcome = "done"
        except ReconcileError as error:
            # A wrong model stays wrong: trying it again changes nothing.
            self.outcome = "done" if "golden row" in str(error) and not self.troubled else "failed"
        except DiedError:
            self.outcome = "died"
        except BaseException as error:
            self.outcome = error
        finally:
            self._paused.release()

    def pause(self, call):
        self.before = call
        self._paused.release()
        self._go.acquire()
        if self._die:
            raise DiedError

    def step(self, *, die=False):
        """Lets it run to its next call, or die there; returns whether it has ended."""
        self._die = die
        self._go.release()
        self._paused.acquire()
        if self.outcome is None:
            return False
        self._thread.join()
        return True
