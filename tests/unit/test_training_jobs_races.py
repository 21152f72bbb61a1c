"""Jobs that compete for slots, in any order of steps, repetitions, losses, orders and broken executions.

Between the read and the write of each record other executions take steps too: what is tried here is every
interleaving that the conditional writes allow. In the end nobody meddles any more, and every job ends.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from training_runtime.admission import PLACE_SECONDS
from training_runtime.attempt import Attempt
from training_runtime.attempts import Cause
from training_runtime.errors import RequestError
from training_runtime.job import ENDS, State
from training_runtime.ports import Phase

from tests.unit.training_jobs_world import World

JOBS = ("a", "b", "c", "d")


class Competition(RuleBasedStateMachine):
    """Up to four jobs on up to four slots."""

    @initialize(slots=st.integers(1, 4), patient=st.booleans())
    def begin(self, slots: int, patient: bool) -> None:
        self.world = World(slots, most_rounds=12, start_seconds=200)
        self.world.hosts.patient = patient
        self.busy: set[str] = set()
        self.orders = 0
        for name in JOBS[:2]:
            self.world.submit(name, slots, min_hosts=1)

    def executions(self) -> list[str]:
        return sorted(self.world.machines.inputs.keys() - self.busy)

    def step(self, data: st.DataObject, depth: int) -> None:
        """A step of any execution that is not amid one; others step between its reads and its writes."""
        if not (idle := self.executions()):
            return
        execution = data.draw(st.sampled_from(idle))
        self.busy.add(execution)
        world = self.world

        def meddle() -> None:
            if not depth:
                return
            match data.draw(st.sampled_from(("", "", "step", "sweep"))):
                case "step":
                    self.step(data, depth - 1)
                case "sweep":
                    world.sweep()

        outer = world.jobs.meddle, world.slots.meddle
        world.jobs.meddle = world.slots.meddle = meddle
        try:
            world.step(execution, repeated=data.draw(st.booleans()))
        finally:
            world.jobs.meddle, world.slots.meddle = outer
            self.busy.discard(execution)

    @rule(
        name=st.sampled_from(JOBS),
        hosts=st.integers(1, 4),
        least=st.integers(1, 4),
        elastic=st.booleans(),
        message=st.sampled_from("xy"),
    )
    def submitted(self, name: str, hosts: int, least: int, elastic: bool, message: str) -> None:
        hosts = min(hosts, self.world.settings.slots)
        self.refused_or_done(
            lambda: self.world.submit(name, hosts, min_hosts=min(least, hosts), elastic=elastic)
        )

    @rule(name=st.sampled_from(JOBS), order=st.sampled_from(("cancel", "resume")), again=st.booleans())
    def ordered(self, name: str, order: str, again: bool) -> None:
        self.orders += 1
        for _ in range(1 + again):
            self.refused_or_done(lambda: self.world.send({order: name}, f"message-{self.orders}"))

    def refused_or_done(self, send: Callable[[], object]) -> None:
        try:
            send()
        except RequestError:
            return

    @precondition(lambda self: self.executions())
    @rule(data=st.data())
    def steps(self, data: st.DataObject) -> None:
        self.step(data, depth=2)

    @rule(data=st.data())
    def come(self, data: st.DataObject) -> None:
        coming = [arn for arn, task in self.world.hosts.tasks.items() if task.phase is Phase.COMING]
        if coming:
            self.world.hosts.arrive(*data.draw(st.lists(st.sampled_from(coming), min_size=1)))

    @rule(data=st.data(), cause=st.sampled_from((Cause.FAILED, Cause.INTERRUPTED)), done=st.booleans())
    def end(self, data: st.DataObject, cause: Cause, done: bool) -> None:
        if living := self.world.hosts.living():
            self.world.hosts.end(data.draw(st.sampled_from(living)), cause, "gone", done=done)

    @rule(data=st.data())
    def silent(self, data: st.DataObject) -> None:
        """It obeys no more, and ECS does not hear it; it may still train."""
        hosts = self.world.hosts
        running = [arn for arn in hosts.living() if hosts.tasks[arn].phase is Phase.RUNNING]
        if running:
            hosts.silence(data.draw(st.sampled_from(running)))

    @rule(data=st.data(), outcome=st.sampled_from(("", "finished", "failed")), saved=st.integers(-1, 9))
    def say(self, data: st.DataObject, outcome: str, saved: int) -> None:
        if training := [name for name in self.world.jobs.open() if self.world.job(name).hosts]:
            self.world.report(data.draw(st.sampled_from(training)), outcome, step=saved + 1, saved=saved)

    @precondition(lambda self: self.executions())
    @rule(data=st.data(), status=st.sampled_from(("ABORTED", "FAILED", "TIMED_OUT")))
    def broken(self, data: st.DataObject, status: str) -> None:
        self.world.end_execution(data.draw(st.sampled_from(self.executions())), status)

    @rule(seconds=st.integers(0, 2000))
    def swept(self, seconds: int) -> None:
        self.world.now += seconds
        self.world.sweep()

    @invariant()
    def every_host_has_a_slot(self) -> None:
        capacity = self.world.slots.read()
        assert capacity.free >= 0
        hosts = self.world.hosts
        assert len(hosts.living()) <= capacity.total - capacity.free
        for attempt in hosts.attempts():
            asked = self.world.job(attempt.rpartition("/")[0]).request.hosts
            assert len(hosts.living(attempt)) <= asked

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.now += 3600
        self.world.settle()
        world = self.world
        assert all(world.job(name).state in ENDS for name in world.jobs.items)
        assert world.hosts.living() == []
        world.now += 3600
        world.sweep()
        assert world.slots.read().held == {}
        # Of one that was cancelled and whose execution was aborted; it holds up nobody any more.
        assert all(world.now - place.seen > PLACE_SECONDS for place in world.slots.read().line)


Competition.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_order = Competition.TestCase


@given(data=st.data(), elastic=st.booleans())
@settings(max_examples=40, deadline=None)
def test_two_jobs_for_the_last_slots_never_wait_for_each_other(data: st.DataObject, elastic: bool) -> None:
    """Each needs more than half: one trains, the other follows, whatever the order of their steps is."""
    world = World(4)
    for name in ("a", "b"):
        world.submit(name, hosts=data.draw(st.integers(3, 4)), elastic=elastic)
    ran: list[str] = []
    for _ in range(40):
        for execution in data.draw(st.permutations(sorted(world.machines.inputs))):
            others = [name for name in sorted(world.machines.inputs) if name != execution]
            once = others[: data.draw(st.integers(0, 1))]

            def meddle(once: list[str] = once) -> None:
                if once:
                    world.step(once.pop())

            world.slots.meddle = meddle
            if execution in world.machines.inputs:
                world.step(execution)
            world.slots.meddle = lambda: None
            world.hosts.arrive()
            running = [name for name in ("a", "b") if world.job(name).state is State.RUNNING]
            assert len(running) <= 1
            for name in running:
                ran += [name] if name not in ran else []
                world.report(name, outcome="finished")
    assert sorted(ran) == ["a", "b"]
    assert {world.job(name).state for name in ("a", "b")} == {State.COMPLETED}
    assert world.slots.read().free == 4


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        ("ABORTED", State.CANCELLED, "cancelled"),
        ("FAILED", State.BACKING_OFF, "its execution is failed"),
        ("TIMED_OUT", State.BACKING_OFF, "its execution is timed_out"),
    ],
)
def test_an_execution_that_broke_is_swept_up(status: str, state: State, words: str) -> None:
    world = World()
    world.submit()
    world.until("running")
    world.hosts.patient = True
    world.end_execution("dogs-1_1", status)
    assert world.sweep() == ["stopped dogs-1/1"]
    assert world.slots.read().free == 0, "its hosts still train"
    for arn in list(world.hosts.stopping):
        world.hosts.end(arn, Cause.INTERRUPTED)
    assert world.sweep() == ["ended dogs-1/1"]
    assert world.job().state is state
    assert words in world.job().reason
    assert (world.slots.read().held, world.sweep()) == ({}, [])


def test_what_was_never_started_is_started() -> None:
    world = World()
    world.submit()
    world.machines.inputs.clear()
    assert world.sweep() == ["started dogs-1/1"]
    world.until("running")
    world.report(outcome="failed")
    world.until("backing-off")
    world.machines.inputs.clear()
    assert world.sweep() == ["started dogs-1/2"]


def test_tasks_that_came_after_their_attempt_was_over_are_stopped() -> None:
    world = World()
    world.submit()
    world.until("completed" if world.report(outcome="") else "running")
    world.send({"cancel": "dogs-1"})
    world.until("cancelled")
    world.step("dogs-1_1") if world.machines.inputs else None
    world.hosts.run("dogs-1/1", 2, {}, provider=0, token="late")
    assert world.sweep() == ["stopped dogs-1/1"]
    assert world.hosts.living() == []


def test_what_somebody_runs_by_hand_is_left_alone() -> None:
    world = World()
    for name in ("me", "dogs", "dogs-1/", "dogs-1/0", "Dogs/1", "a/b/1"):
        world.hosts.run(name, 1, {}, provider=0, token="by hand")
    assert world.sweep() == []
    assert len(world.hosts.living()) == 6


def test_slots_without_an_attempt_are_released_after_a_while() -> None:
    world = World()
    world.submit()
    world.until("running")
    del world.jobs.items["dogs-1"]
    world.now += 100
    assert world.sweep() == ["stopped dogs-1/1"]
    world.now += 100
    assert world.sweep() == ["released dogs-1/1"]


def test_a_sweep_that_looks_while_an_attempt_ends_changes_nothing() -> None:
    """The record was read before the execution wrote its end, the status after it."""
    world = World()
    world.submit()
    world.until("running")
    world.report(outcome="failed")
    status = world.machines.status

    def ends_meanwhile(attempt: Attempt) -> str | None:
        if world.job().state is State.RUNNING:
            world.until("backing-off")
            assert world.machines.ended == {"dogs-1_1": "SUCCEEDED"}
        return status(attempt)

    world.machines.status = ends_meanwhile  # type: ignore[method-assign]
    assert world.sweep() == []
    assert (world.job().state, list(world.machines.inputs)) == (State.BACKING_OFF, ["dogs-1_2"])
