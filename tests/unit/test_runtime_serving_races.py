"""Reconciles that race, repeat and die: whatever the order, the newest approved version serves in the end.

Every reconcile runs in a thread that stops before each call to the outside; hypothesis decides who
goes on, who dies, and what happens to the registry in between. More sequences: RECONCILE_SEQUENCES=10000.
"""

import functools
import io
import json
import os
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from serving_runtime.errors import DeployError, OutdatedError, ReconcileError
from serving_runtime.ports import Archive, Package, Ports
from serving_runtime.reconcile import reconcile
from serving_runtime.record import Record, from_item, to_item

GROUP = "loans"
MOST_RUNNING = 4
CALLS = ("read", "approved", "exists", "model_data_url", "fetch", "publish", "predict", "write", "written")
SEQUENCES = int(os.environ.get("RECONCILE_SEQUENCES", "60"))


# Where a reconcile is left standing; most races need it before its write.
untils = st.sampled_from([*4 * ["end"], *6 * ["write"], None, *CALLS])
# How many versions back: what happens to old ones seldom matters.
ages = st.sampled_from([0, 0, 0, 1, 2])


class DiedError(BaseException):
    """The function's process ends here; nothing in it may catch that."""


@dataclass
class Version:
    """A package of the registry; a model that is not `good` answers its golden rows wrongly."""

    status: str
    good: bool
    was_approved: bool = False


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
    """Registry, table, bucket and endpoint."""

    def __init__(self):
        self.versions = {}
        self.item = None
        self.bucket = {}
        self.storage_fails = False

    def ports(self, process):
        """The four ports; the process stops before every call, and after a write."""
        world, pause = self, process.pause

        def check_storage():
            if world.storage_fails:
                process.troubled = True
                raise DeployError("storage does not answer")

        def paused(call):
            @functools.wraps(call)
            def run(*args, **kwargs):
                pause(call.__name__)
                result = call(*args, **kwargs)
                if call.__name__ == "write":
                    pause("written")
                return result

            return run

        class Outside:
            @paused
            def approved(self, group):
                found = [v for v, version in world.versions.items() if version.status == "Approved"]
                return [Package(version=v, arn=f"arn:{v}") for v in sorted(found, reverse=True)]

            @paused
            def model_data_url(self, package):
                version = world.versions.get(package.version)
                if version is None or version.status != "Approved":
                    raise OutdatedError(package.arn)
                return str(package.version)

            @paused
            def read(self, group):
                return from_item(world.item) if world.item else Record(group=group)

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

            @paused
            def exists(self, artifact):
                check_storage()
                return artifact in world.bucket

            @paused
            def predict(self, artifact, instances):
                if artifact not in world.bucket:
                    process.troubled = True
                    raise DeployError("the endpoint finds no artifact")
                number = int(artifact.split("/")[1].split("-")[0])
                version = world.versions.get(number)
                return [number if version is None or version.good else -1]

        outside = Outside()
        return Ports(registry=outside, records=outside, artifacts=outside, endpoint=outside)


class Reconcile:
    """One reconcile in its thread, which runs only while somebody waits in `step`."""

    def __init__(self, world):
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._die = False
        self.outcome = None
        self.before = "start"
        self.troubled = False
        self._thread = threading.Thread(target=self._run, args=(world,), daemon=True)
        self._thread.start()

    def _run(self, world):
        self._go.acquire()
        try:
            reconcile(GROUP, world.ports(self), max_unpacked=10**6, now=lambda: "now")
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
        self.world = World()
        self.running = []
        self.events = 0

    @initialize()
    def one_version_serves(self):
        self.register(good=True, status="Approved", until="end")

    def change(self, until):
        """An event is on its way; with `until`, it arrives at once and its reconcile runs up to that call."""
        self.events += 1
        if until and len(self.running) < MOST_RUNNING:
            self.deliver(duplicate=False)
            self.advance(self.running[-1], until=until)

    @rule(
        good=st.sampled_from([True, True, True, False]),
        status=st.sampled_from(["Approved", "Approved", "PendingManualApproval"]),
        until=untils,
    )
    def register(self, good, status, until):
        number = max(self.world.versions, default=0) + 1
        self.world.versions[number] = Version(status, good, was_approved=status == "Approved")
        self.change(until)

    @rule(age=ages, status=st.sampled_from(["Approved", "Rejected"]), until=untils)
    def decide(self, age, status, until):
        version = self.world.versions[self.pick(age)]
        version.status = status
        version.was_approved |= status == "Approved"
        self.change(until)

    @precondition(lambda self: len(self.world.versions) > 1)
    @rule(age=st.integers(1, 3), until=untils)
    def delete(self, age, until):
        # Never the newest: the registry gives no number out twice.
        del self.world.versions[self.pick(age)]
        self.change(until)

    def pick(self, age):
        numbers = sorted(self.world.versions)
        return numbers[max(-1 - age, -len(numbers))]

    @rule()
    def storage_fails(self):
        self.world.storage_fails = True

    @precondition(lambda self: self.world.bucket)
    @rule(data=st.data(), until=untils)
    def lose_artifact(self, data, until):
        del self.world.bucket[data.draw(st.sampled_from(sorted(self.world.bucket)))]
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
        self.world.storage_fails = False
        while self.running or self.events:
            while self.events and len(self.running) < MOST_RUNNING:
                self.deliver(duplicate=False)
            self.advance(self.running[-1], until="end")

    @invariant()
    def newest_approved_serves_when_all_is_quiet(self):
        if not self.running and not self.events and self.world.item is not None:
            self.check_quiescence()

    @invariant()
    def what_serves_has_passed_its_checks(self):
        if self.world.item is None:
            return
        serving = from_item(self.world.item).serving
        version = self.world.versions.get(serving.version) if serving else None
        assert version is None or (version.good and version.was_approved)

    def teardown(self):
        # No event but those that the changes caused: the schedule must not be needed to get this right.
        self.settle()
        self.newest_approved_serves_when_all_is_quiet()

    def check_quiescence(self):
        record = from_item(self.world.item)
        serving = record.serving.version if record.serving else None
        approved = sorted(v for v, version in self.world.versions.items() if version.status == "Approved")
        sound = [v for v in approved if self.world.versions[v].good]
        newest_is_sound = not approved or approved[-1] in sound
        assert (record.error is None) == newest_is_sound
        if newest_is_sound:
            assert serving == (approved[-1] if approved else None)
        else:
            assert serving in (sound or [None])
            assert record.error.version == approved[-1]
        if record.serving:
            assert record.serving.artifact in self.world.bucket


TestRaces = Races.TestCase
TestRaces.settings = settings(max_examples=SEQUENCES, stateful_step_count=40, deadline=None)
