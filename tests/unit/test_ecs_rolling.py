"""What a service's scheduler does next, whatever its tasks do."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import assume, example, given
from hypothesis import strategies as st

from localcloud.ecs.rolling import Member, Steps, broken, delay, plan

PERCENTS = st.sampled_from([(100, 200), (50, 100), (0, 100), (100, 150), (50, 200)])


def member(key: str, *, current: bool = True, running: bool = True) -> Member:
    return Member(key=key, current=current, running=running)


def test_a_new_service_starts_all() -> None:
    assert plan(3, [], 100, 200) == Steps(start=3)


def test_a_smaller_count_stops_what_does_not_run_first() -> None:
    members = [member("a"), member("b", running=False), member("c")]
    assert plan(2, members, 100, 200) == Steps(stop=("b",))
    assert set(plan(0, members, 100, 200).stop) == {"a", "b", "c"}


def test_a_deployment_stays_within_its_bounds() -> None:
    old = [member(name, current=False) for name in "ab"]
    assert plan(2, old, 100, 200) == Steps(start=2)
    assert plan(2, old, 50, 100) == Steps(start=1, stop=("a",))
    assert plan(2, [*old, member("new", running=False)], 100, 150) == Steps()
    assert plan(2, [*old, member("new")], 100, 150).stop == ("a",)
    assert set(plan(2, [*old, member("c"), member("d")], 100, 200).stop) == {"a", "b"}


def test_a_lower_bound_is_rounded_up_and_an_upper_one_down() -> None:
    old = [member(name, current=False) for name in "abc"]
    assert plan(3, old, 50, 100) == Steps(start=1, stop=("a",))
    assert plan(3, old, 100, 150) == Steps(start=1)


members = st.lists(
    st.builds(Member, key=st.uuids().map(str), current=st.booleans(), running=st.booleans()), max_size=12
)


@given(st.integers(0, 8), members, PERCENTS)
def test_enough_stay_healthy_and_no_more_than_allowed_are_added(
    desired: int, known: list[Member], percents: tuple[int, int]
) -> None:
    lowest, highest = percents
    steps = plan(desired, known, lowest, highest)
    assert len(set(steps.stop)) == len(steps.stop)
    assert set(steps.stop) <= {each.key for each in known}
    kept = [each for each in known if each.key not in steps.stop]
    healthy = math.ceil(desired * lowest / 100)
    running, left = (sum(each.running for each in group) for group in (known, kept))
    assert left >= min(running, healthy)
    if steps.start:
        most = max(math.floor(desired * highest / 100), desired if all(m.current for m in known) else 0)
        assert len(kept) + steps.start <= most
        assert sum(each.current for each in kept) + steps.start <= desired


def test_rounded_bounds_may_leave_no_room() -> None:
    """On AWS, too, the only task of a service is not replaced within 50 to 100, or 100 to 150 percent."""
    old = [member("a", current=False)]
    assert plan(1, old, 50, 100) == plan(1, old, 100, 150) == Steps()
    assert plan(1, old, 0, 100) == Steps(start=1, stop=("a",))


@given(st.integers(0, 6), members, PERCENTS)
@example(desired=2, known=[member("a", current=False)], percents=(50, 100))
def test_it_gets_there(desired: int, known: list[Member], percents: tuple[int, int]) -> None:
    healthy, most = math.ceil(desired * percents[0] / 100), math.floor(desired * percents[1] / 100)
    assume(healthy < most or not desired)
    for turn in range(60):
        steps = plan(desired, known, *percents)
        if steps == Steps():
            break
        known = [each for each in known if each.key not in steps.stop]
        known = [replace(each, running=True) for each in known]
        known += [member(f"{turn}-{number}", running=False) for number in range(steps.start)]
    known = [replace(each, running=True) for each in known]
    for _ in range(20):
        steps = plan(desired, known, *percents)
        known = [each for each in known if each.key not in steps.stop]
        known += [member(f"late-{len(known)}-{number}") for number in range(steps.start)]
    assert [each.current for each in known] == [True] * desired


def test_failing_starts_come_later_and_later() -> None:
    delays = [delay(failures) for failures in range(12)]
    assert delays[:4] == [0, 0, 0, 2]
    assert delays == sorted(delays)
    assert delays[-1] == 60


def test_the_breaker_opens_at_half_of_the_count_but_not_before_three() -> None:
    assert [broken(failures, 1) for failures in (2, 3)] == [False, True]
    assert [broken(failures, 20) for failures in (9, 10)] == [False, True]
    assert not broken(199, 1000)
    assert broken(200, 1000)
