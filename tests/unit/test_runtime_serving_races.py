"""Reconciles that race, repeat and die: whatever the order, what the registry approves serves in the end.

Every reconcile can be stopped before each call to the outside; hypothesis decides who goes on, who dies, how
time passes, and what happens to the registry in between, while readers ask for predictions with what they
remember. More sequences: RECONCILE_SEQUENCES=10000.
"""

import os
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from unittest.mock import patch

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.fuzz_report import report
from tests.unit.serving_world import (
    BAKE,
    CALLS,
    CANARY,
    FULL,
    GRACE,
    LIFETIME,
    REMEMBERED,
    Reader,
    Reconcile,
    Version,
    World,
    version_of,
)

MOST_RUNNING = 4
SEQUENCES = int(os.environ.get("RECONCILE_SEQUENCES", "60"))
# Hypothesis remembers every choice of a run: more of them would fill the memory.
BATCH = 500

# Where a reconcile is left standing; most races need it before its write.
untils = st.sampled_from([*6 * ["end"], *6 * ["write"], *2 * ["concluding", "delete"], None, *CALLS])
# How many versions back: what happens to old ones seldom matters.
ages = st.sampled_from([0, 0, 0, 1, 2])


# How reconciles ended.
SEEN = Counter()


@pytest.fixture(scope="module", autouse=True)
def reported():
    began = time.monotonic()
    yield
    report("deployer, sequences; how their reconciles ended", SEQUENCES, began, SEEN)


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
        self.world.versions[number] = Version(good, health, changed=self.world.now())
        if how:
            self.world.decide(number, how)
        self.change(until)

    @rule(age=ages, how=st.sampled_from([FULL, CANARY, CANARY, "reject", "reject", "aws"]), until=untils)
    def decide(self, age, how, until):
        self.world.decide(self.pick(age), how)
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

    @precondition(lambda self: self.world.record().canary)
    @rule(minutes=st.sampled_from([6, BAKE + 1]), until=untils.filter(bool))
    def a_canary_is_watched(self, minutes, until):
        self.world.traffic = True
        self.put_forward(minutes)
        self.change(until)

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
            for number in self.world.versions:
                if number > wanted:
                    self.world.decide(number, "reject")
            self.world.decide(wanted, how)
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
        self.world.lose(data.draw(st.sampled_from(sorted(self.world.bucket))))
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
        """To its next call, or the next of the kind `until`."""
        if process.go(until=until, die=die):
            self.running.remove(process)
            if isinstance(process.outcome, BaseException):
                raise process.outcome
            SEEN[process.outcome] += 1
            # Lambda delivers an event again whose function failed or died.
            self.events += process.outcome != "done"

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
            assert deployment.version in self.world.approved_once
            assert version is None or version.good

    @invariant()
    def who_remembers_is_answered(self):
        for reader in self.readers:
            reader.check()

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
        if record.canary:
            # Its time begins when it is asked for, and anew when it is compared with another version.
            begun = datetime.fromisoformat(record.canary.deployment.since)
            assert begun >= datetime.fromisoformat(versions[canary].changed)
            assert begun >= datetime.fromisoformat(record.serving.since)
            assert record.canary.percent == int(versions[canary].metadata["canary-percent"])

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


@pytest.mark.parametrize("batch", range(-(-SEQUENCES // BATCH)))
def test_whatever_the_order_what_is_approved_serves_in_the_end(batch):
    class Batch(Races):
        pass

    if settings.default.derandomize:
        # Or every batch would hold the same sequences.
        seed(batch)(Batch)
    count = min(BATCH, SEQUENCES - batch * BATCH)
    chosen = settings(max_examples=count, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(Batch, settings=chosen)
