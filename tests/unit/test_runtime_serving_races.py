"""Reconciles that race, repeat and die: whatever the order, what the registry approves serves in the end.

Every reconcile runs in a thread that stops before each call to the outside; hypothesis decides who goes on,
who dies, how time passes, and what happens to the registry in between, while readers ask for predictions with
what they remember. More sequences: RECONCILE_SEQUENCES=10000.
"""

import functools
import io
import json
import os
import tarfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from serving_runtime.canary import Figures, Rules
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError, UnreadableError
from serving_runtime.item import from_item, to_item
from serving_runtime.ports import Archive, Description, Package, Ports
from serving_runtime.reconcile import reconcile
from serving_runtime.record import Record
from serving_runtime.settings import Settings
from serving_runtime.wishes import metadata_of

GROUP = "loans"
MOST_RUNNING = 4
CALLS = (
    "read", "approved", "describe", "present", "fetch", "publish", "predict", "figures", "conclude",
    "concluding", "write", "written", "delete", "warm",
)  # fmt: skip
SEQUENCES = int(os.environ.get("RECONCILE_SEQUENCES", "60"))
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


# Where a reconcile is left standing; most races need it before its write.
untils = st.sampled_from([*6 * ["end"], *6 * ["write"], *2 * ["concluding", "delete"], None, *CALLS])
# How many versions back: what happens to old ones seldom matters.
ages = st.sampled_from([0, 0, 0, 1, 2])
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


class Races(RuleBasedStateMachine):
    """Changes of the registry, their events in any order and number, and the reconciles they start."""

    def __init__(self):
        super().__init__()
        self.quiet = ExitStack()
        for module in ("reconcile", "choice"):
            # Ten thousand sequences log half a gigabyte, which pytest would keep.
            self.quiet.enter_context(patch(f"serving_runtime.{module}.log", new=lambda *_, **__: None))
        self.world = World()
        self.readers = [Reader(self.world), Reader(self.world)]
        self.running = []
        self.events = 0

    @initialize(how=st.sampled_from([FULL, FULL, CANARY]))
    def one_version_serves(self, how):
        self.register(good=True, health="well", how=how, until="end")

    def change(self, until):
        """An event is on its way; with `until`, it arrives at once and its reconcile runs up to that call."""
        self.events += 1
        if until and len(self.running) < MOST_RUNNING:
            self.deliver(duplicate=False)
            self.advance(self.running[-1], until=until)

    @rule(
        good=st.sampled_from([True, True, True, False]),
        health=st.sampled_from(["well", "well", "failing", "slow"]),
        how=st.sampled_from([FULL, FULL, CANARY, CANARY, None]),
        until=untils,
    )
    def register(self, good, health, how, until):
        number = max(self.world.versions, default=0) + 1
        self.world.versions[number] = version = Version(good, health, changed=self.world.now())
        if how:
            version.decide(how, self.world.now())
        self.change(until)

    @rule(age=ages, how=st.sampled_from([FULL, CANARY, CANARY, "reject", "reject", "aws"]), until=untils)
    def decide(self, age, how, until):
        self.world.versions[self.pick(age)].decide(how, self.world.now())
        self.change(until)

    @rule(minutes=st.sampled_from([1, 1, 1, 10, BAKE, GRACE + 1]), tick=st.booleans(), until=untils)
    def time_passes(self, minutes, tick, until):
        self.put_forward(minutes)
        if tick:
            self.change(until)

    def put_forward(self, minutes):
        self.world.minutes += minutes
        # Lambda ends what runs for too long, and does not deliver it later than that.
        for process in [p for p in self.running if self.world.minutes - p.started >= LIFETIME]:
            self.advance(process, die=True)

    @precondition(lambda self: self.world.record().unused)
    @rule(until=st.sampled_from(["delete", "delete", "write", "end"]))
    def garbage_is_due(self, until):
        self.put_forward(GRACE + 1)
        self.change(until)

    @precondition(lambda self: self.world.record().deleting)
    @rule(data=st.data(), how=st.sampled_from([FULL, FULL, CANARY]), until=untils)
    def an_old_version_is_wanted_again(self, data, how, until):
        """One that is being deleted, or just was."""
        wanted = version_of(data.draw(st.sampled_from(sorted(self.world.record().deleting))))
        if wanted in self.world.versions:
            for number, version in self.world.versions.items():
                if number > wanted:
                    version.decide("reject", self.world.now())
            self.world.versions[wanted].decide(how, self.world.now())
            self.change(until)

    @rule()
    def traffic_comes_or_goes(self):
        self.world.traffic = not self.world.traffic

    @rule(reader=st.integers(0, 1), canary=st.booleans())
    def ask(self, reader, canary):
        self.readers[reader].ask(canary=canary)

    @precondition(lambda self: len(self.world.versions) > 1)
    @rule(age=st.integers(1, 3), until=untils)
    def delete(self, age, until):
        # Never the newest: the registry gives no number out twice.
        del self.world.versions[self.pick(age)]
        self.change(until)

    def pick(self, age):
        numbers = sorted(self.world.versions)
        return numbers[max(-1 - age, -len(numbers))]

    @rule(registry=st.booleans())
    def something_fails(self, registry):
        """Until all comes to rest."""
        self.world.registry_fails |= registry
        self.world.storage_fails |= not registry

    @precondition(lambda self: self.world.bucket)
    @rule(data=st.data(), until=untils)
    def lose_artifact(self, data, until):
        artifact = data.draw(st.sampled_from(sorted(self.world.bucket)))
        del self.world.bucket[artifact]
        self.world.lost.add(artifact)
        self.change(until)

    @precondition(lambda self: self.events and len(self.running) < MOST_RUNNING)
    @rule(duplicate=st.booleans())
    def deliver(self, duplicate):
        self.events -= not duplicate
        self.running.append(Reconcile(self.world))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), call=untils.filter(bool))
    def go_on(self, data, call):
        """Lets one reconcile run until it is about to make that call, or to its end."""
        self.advance(data.draw(st.sampled_from(self.running)), until=call)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data):
        self.advance(data.draw(st.sampled_from(self.running)), die=True)

    def advance(self, process, *, until=None, die=False):
        """One step, or as many as it takes to stand before the call `until`."""
        first = True
        while first or (until and process.before != until):
            first = False
            if process.step(die=die):
                self.running.remove(process)
                if isinstance(process.outcome, BaseException):
                    raise process.outcome
                # Lambda delivers an event again whose function failed or died.
                self.events += process.outcome != "done"
                return

    @precondition(lambda self: self.running or self.events)
    @rule()
    def settle(self):
        """All that is under way comes to its end, oldest last: nobody mends what it does."""
        self.world.storage_fails = self.world.registry_fails = False
        while self.running or self.events:
            while self.events and len(self.running) < MOST_RUNNING:
                self.deliver(duplicate=False)
            self.advance(self.running[-1], until="end")

    @invariant()
    def what_is_needed_is_there(self):
        missing = self.world.record().artifacts - self.world.bucket.keys()
        assert missing <= self.world.lost

    @invariant()
    def newest_approved_serves_when_all_is_quiet(self):
        if not self.running and not self.events and self.world.item is not None:
            self.check_quiescence()

    @invariant()
    def what_answers_has_passed_its_checks(self):
        for deployment in self.world.record().answering:
            version = self.world.versions.get(deployment.version)
            assert version is None or (version.good and version.was_approved)

    def teardown(self):
        with self.quiet:
            self.come_to_rest()

    def come_to_rest(self):
        # No event but those that the changes caused: the schedule must not be needed to get this right.
        self.settle()
        if self.world.item is None:
            return
        self.check_quiescence()
        self.check_readers()
        self.check_verdict()
        self.check_garbage()

    def check_quiescence(self):
        record = self.world.record()
        serving = record.serving.version if record.serving else None
        canary = record.canary.deployment.version if record.canary else None
        versions = self.world.versions
        approved = sorted(v for v, version in versions.items() if version.status == "Approved")
        full = [v for v in approved if not versions[v].is_wish]
        wishes = [v for v in approved if versions[v].is_wish and v > max(full, default=0)]
        good = [v for v in approved if versions[v].good]
        newest = [*full[-1:], *wishes[-1:]]
        assert (record.error is None) == all(versions[v].good for v in newest)
        if record.error:
            assert record.error.version in newest
        if full and versions[full[-1]].good:
            assert serving == record.desired == full[-1]
        else:
            # Of canaries alone, the newest that is good was promoted: there was nothing to compare it with.
            assert serving in (good or [None])
            assert full or serving is None
        alone = not any(versions[v].good for v in full)
        assert canary == (wishes[-1] if wishes and not alone and versions[wishes[-1]].good else None)
        assert record.artifacts <= self.world.bucket.keys()

    def check_readers(self):
        """Once all is quiet and forgotten, only what is approved now answers."""
        self.world.minutes += REMEMBERED + 1
        for reader in self.readers:
            for canary in (False, True):
                version = reader.ask(canary=canary)
                assert version is None or self.world.versions[version].status == "Approved"

    def check_verdict(self):
        """With requests and time, a canary ends as what callers got says; so does an older one behind it."""
        versions = self.world.versions
        self.world.traffic = True
        for _ in range(3 * len(versions)):
            before = self.world.record()
            if before.canary is None:
                return
            new, old = versions[before.canary.deployment.version], versions[before.serving.version]
            self.tick(BAKE + 1)
            record = self.world.record()
            if record.canary and record.canary.deployment.version == before.canary.deployment.version:
                continue
            outcome = "rolled-back" if new.health not in ("well", old.health) else "promoted"
            assert (record.verdict.version, record.verdict.outcome) == (
                before.canary.deployment.version,
                outcome,
            )
            assert new.metadata["canary-verdict"] == outcome
            assert new.status == ("Rejected" if outcome == "rolled-back" else "Approved")
            self.check_quiescence()
        assert self.world.record().canary is None

    def check_garbage(self):
        """What nobody needs goes, and the notes about it with it; what fails is tried again where it is."""
        for _ in range(8):
            self.tick(GRACE + 1)
            record = self.world.record()
            if not record.unused and not record.deleting:
                break
        versions = self.world.versions
        assert not record.unused
        assert not record.deleting
        for artifact in set(self.world.bucket) - record.artifacts:
            version = versions[version_of(artifact)]
            assert not version.good
            assert version.status == "Approved"
        self.check_quiescence()

    def tick(self, minutes):
        self.world.minutes += minutes
        self.events += 1
        self.settle()


TestRaces = Races.TestCase
TestRaces.settings = settings(max_examples=SEQUENCES, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("meanwhile", [0, 1, 2])
def test_a_deletion_that_comes_late_hits_nothing_that_is_needed(meanwhile):
    """A version is wanted again while a reconcile is about to delete its model, and others already did."""
    world = World()

    def run(until=None):
        process = Reconcile(world)
        while process.before != until and not process.step():
            pass
        return process

    for number in (1, 2, 3):
        world.versions[number] = Version(good=True, health="well")
        world.versions[number].decide(FULL, world.now())
        run()
    (unneeded,) = world.record().unused
    assert version_of(unneeded) == 1
    world.minutes += GRACE + 1
    late = run(until="delete")
    for _ in range(meanwhile):
        run()
    for number in (2, 3):
        world.versions[number].decide("reject", world.now())
    run()
    ended = False
    while not ended:
        ended = late.step()
        assert world.record().serving.version == 1
        assert world.record().artifacts <= world.bucket.keys()
