"""What a tuning job does next: limits, turns, stops and verdicts, whatever happens in whatever order."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.jobs.tuning.plan import ATTEMPTS, Halt, Limits, Plan, Verdict
from localcloud.sagemaker.jobs.tuning.search import Values


class Fake:
    """A search that counts, up to a size, and notes what it is told."""

    def __init__(self, size: int = 10_000, stop_at: int | None = None) -> None:
        self.numbers = iter(range(size))
        self.stop_at = stop_at
        self.told: dict[int, float | None] = {}

    def suggest(self) -> tuple[int, Values] | None:
        number = next(self.numbers, None)
        return None if number is None else (number, {"n": str(number)})

    def report(self, number: int, step: int, value: float) -> bool:
        return step == self.stop_at

    def tell(self, number: int, value: float | None) -> None:
        assert number not in self.told
        self.told[number] = value

    def learn(self, values: Any, value: float) -> None:
        raise AssertionError("nothing to learn here")


def launch(plan: Plan, names: Any) -> list[str]:
    """Start all that may be started."""
    started = []
    while (proposal := plan.propose()) is not None:
        name = f"job-{next(names)}"
        plan.launched(name, proposal)
        started.append(name)
    return started


def limits(**changes: Any) -> Limits:
    return Limits(**{"jobs": 10, "parallel": 2, "maximize": True, **changes})


def run(plan: Plan, outcomes: Any) -> Verdict:
    """One job after the other; `outcomes` are objectives, None for a failure."""
    names, values = count(1), iter(outcomes)
    while True:
        launch(plan, names)
        if (verdict := plan.verdict()) is not None:
            return verdict
        for name in plan.running:
            value = next(values)
            plan.ended(name, value, completed=value is not None)


OUTCOMES = st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=40, max_size=40)


@settings(deadline=None)
@given(
    OUTCOMES,
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_every_job_is_counted_once_and_no_limit_is_passed(
    outcomes: list[float | None], most: int, parallel: int, sizes: list[int], random: Any
) -> None:
    searches = [Fake(size) for size in sizes]
    plan = Plan(limits(jobs=most, parallel=parallel), searches)
    names, values, ended, succeeded = count(1), iter(outcomes), 0, 0
    while True:
        launch(plan, names)
        assert len(plan.running) <= parallel
        if (verdict := plan.verdict()) is not None:
            break
        name = random.choice(plan.running)
        value = next(values)
        succeeded += plan.ended(name, value, completed=value is not None)
        ended += 1
    assert ended <= most
    assert ended == sum(len(search.told) for search in searches)
    assert verdict.status == ("Completed" if succeeded else "Failed")
    if succeeded:
        assert ended == min(most, sum(sizes))
    told = [value for search in searches for value in search.told.values() if value is not None]
    assert plan.best == (max(told) if told else None)


def test_definitions_take_turns_until_they_have_nothing_left() -> None:
    plan = Plan(limits(jobs=7, parallel=7), [Fake(1), Fake(), Fake(2)])
    taken = []
    names = count(1)
    while (proposal := plan.propose()) is not None:
        taken.append(proposal.definition)
        plan.launched(f"job-{next(names)}", proposal)
    assert taken == [0, 1, 2, 1, 2, 1, 1]


def test_failures_only() -> None:
    details = "Please take a look at the training job failures to get more details."
    assert run(Plan(limits(jobs=3), [Fake()]), [None] * 3) == Verdict(
        status="Failed", reason=f"All training jobs failed. {details}"
    )
    assert run(Plan(limits(jobs=50, parallel=1), [Fake()]), [None] * 50) == Verdict(
        status="Failed", reason=f"No training job succeeded after {ATTEMPTS} attempts. {details}"
    )


def test_a_late_success_gives_hope_again() -> None:
    plan = Plan(limits(jobs=20, parallel=6), [Fake()])
    names = count(1)
    started = launch(plan, names)
    for name in started[:5]:
        plan.ended(name, None, completed=False)
    assert launch(plan, names) == []
    assert plan.verdict() is None
    plan.ended(started[5], 1.0, completed=True)
    assert len(launch(plan, names)) == 6


def test_jobs_that_complete_without_an_objective() -> None:
    plan = Plan(limits(jobs=3, parallel=1), [Fake()])
    names = count(1)
    while plan.verdict() is None or launch(plan, names):
        for name in launch(plan, names) or plan.running:
            plan.ended(name, None, completed=True)
    verdict = plan.verdict()
    assert verdict is not None
    assert verdict.status == "Failed"
    assert str(verdict.reason).startswith("No objective metrics found after running 3 training jobs. ")


def test_a_users_stop() -> None:
    search = Fake()
    plan = Plan(limits(), [search])
    first, second = launch(plan, count(1))
    plan.ended(first, 0.5, completed=True)
    plan.halt(Halt.RUNTIME)
    plan.halt(Halt.STOPPED)
    plan.halt(Halt.CRITERIA)
    assert plan.halted is Halt.STOPPED
    assert plan.propose() is None
    assert plan.verdict() is None
    # It has emitted, but was cut off: what it has found so far is not used.
    assert not plan.ended(second, 9.0, completed=False)
    assert search.told == {0: 0.5, 1: None}
    assert plan.best == 0.5
    assert plan.verdict() == Verdict(status="Stopped")


def test_what_runs_too_long_counts_with_what_it_has() -> None:
    plan = Plan(limits(), [Fake()])
    first, second = launch(plan, count(1))
    plan.halt(Halt.RUNTIME)
    assert plan.ended(first, 0.5, completed=False)
    assert not plan.ended(second, None, completed=False)
    assert plan.verdict() == Verdict(status="Completed")

    empty = Plan(limits(parallel=1), [Fake()])
    (only,) = launch(empty, count(1))
    empty.halt(Halt.RUNTIME)
    empty.ended(only, None, completed=False)
    verdict = empty.verdict()
    assert verdict is not None
    assert "MaxRuntimeInSeconds" in str(verdict.reason)


@pytest.mark.parametrize(("maximize", "values"), [(True, [0.1, 0.95]), (False, [0.99, 0.9])])
def test_the_target_ends_the_search(maximize: bool, values: list[float]) -> None:
    plan = Plan(limits(parallel=1, maximize=maximize, target=values[-1]), [Fake()])
    assert run(plan, values).status == "Completed"
    assert plan.halted is Halt.CRITERIA


def test_what_no_longer_improves() -> None:
    # 1.005 is better than 1.0 by less than a hundredth, and does not count.
    plan = Plan(limits(jobs=50, parallel=1, not_improving=3), [Fake()])
    assert run(plan, [0.5, 1.0, 1.005, 0.2, 1.006, 9.9]).status == "Completed"
    assert plan.not_improving == 3
    assert plan.best == 1.006
    assert not plan.converged

    endless = Plan(limits(jobs=50, parallel=1, on_convergence=True), [Fake()])
    run(endless, [1.0] * 50)
    assert endless.converged
    assert endless.not_improving == 10


def test_objectives_around_zero_improve() -> None:
    plan = Plan(limits(jobs=5, parallel=1), [Fake()])
    run(plan, [0.0, 0.0, 0.001, -1.0, 0.002])
    assert plan.not_improving == 0
    assert plan.best == 0.002


def test_early_stopping_compares_within_a_definition() -> None:
    plan = Plan(limits(jobs=4, parallel=4, stop_early=True), [Fake(), Fake()])
    names = launch(plan, count(1))
    assert not any(plan.emitted(name, 5.0) for name in names[:2])
    plan.ended(names[0], 5.0, completed=True)
    assert plan.emitted(names[2], 1.0)
    assert not plan.emitted(names[3], 1.0)
    assert not plan.emitted("gone", 1.0)


def test_the_searchs_own_word_stops_a_job() -> None:
    plan = Plan(limits(parallel=1), [Fake(stop_at=2)])
    (name,) = launch(plan, count(1))
    assert [plan.emitted(name, 1.0), plan.emitted(name, 1.0)] == [False, True]
