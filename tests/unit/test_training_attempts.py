"""What follows when hosts were lost or an attempt ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_runtime.attempts import Action, Cause, Decision, Ended, Rules, Tally, after, wait_bound

RULES = Rules(hosts=4, min_hosts=2, poison_limit=3, fruitless_limit=5, first_wait_s=10, longest_wait_s=100)
FIXED = Rules(hosts=4, elastic=False, poison_limit=3, fruitless_limit=5, first_wait_s=10, longest_wait_s=100)


def lost(hosts_left: int, step: int = -1, cost: float = 0.0) -> Ended:
    return Ended(cause=Cause.INTERRUPTED, hosts_left=hosts_left, checkpoint_step=step, cost=cost)


def failed(step: int = -1) -> Ended:
    return Ended(cause=Cause.FAILED, checkpoint_step=step)


def follow(rules: Rules, events: list[Ended], draw: float = 0.5) -> list[Decision]:
    """Until one of them is the last."""
    tally, decisions = Tally(), []
    for event in events:
        decision, tally = after(rules, tally, event, draw)
        decisions.append(decision)
        if decision.action in (Action.GIVE_UP, Action.COMPLETE, Action.STOP):
            break
    return decisions


@pytest.mark.parametrize(
    ("rules", "left", "action", "hosts"),
    [
        (RULES, 3, Action.CONTINUE, 3),
        (RULES, 2, Action.CONTINUE, 2),
        (RULES, 1, Action.REQUEUE, 4),
        (RULES, 0, Action.REQUEUE, 4),
        (FIXED, 3, Action.REQUEUE, 4),
    ],
)
def test_goes_on_smaller_down_to_min_hosts(rules: Rules, left: int, action: Action, hosts: int) -> None:
    decision = follow(rules, [lost(left, step=1)])[0]
    assert (decision.action, decision.hosts) == (action, hosts)


def test_waits_double_up_to_the_bound_and_progress_resets_them() -> None:
    assert [wait_bound(RULES, misses) for misses in range(6)] == [10, 20, 40, 80, 100, 100]
    assert wait_bound(RULES, 10_000) == 100
    waits = [decision.wait_s for decision in follow(FIXED, [lost(0)] * 3 + [lost(0, step=7)], draw=0.5)]
    assert waits == [5, 10, 20, 5]


def test_a_poisoned_job_ends_after_as_many_failures_as_allowed() -> None:
    decisions = follow(RULES, [failed()] * 9)
    assert [decision.action for decision in decisions] == [Action.REQUEUE, Action.REQUEUE, Action.GIVE_UP]
    assert "failed 3 times without progress; no checkpoint" in decisions[-1].reason


def test_what_the_trainer_refuses_is_not_asked_again() -> None:
    (decision,) = follow(RULES, [Ended(cause=Cause.REFUSED, hosts_left=3, checkpoint_step=7)] * 9)
    assert decision.action is Action.GIVE_UP


def test_failures_with_progress_between_them_do_not_add_up() -> None:
    decisions = follow(RULES, [failed(step) for step in range(20)])
    assert {decision.action for decision in decisions} == {Action.REQUEUE}


def test_a_failure_that_leaves_hosts_counts_too() -> None:
    event = Ended(cause=Cause.FAILED, hosts_left=3)
    actions = [decision.action for decision in follow(RULES, [event] * 3)]
    assert actions == [Action.CONTINUE, Action.CONTINUE, Action.GIVE_UP]


def test_a_zone_that_loses_one_host_after_the_other_is_one_attempt() -> None:
    rules = Rules(hosts=12, min_hosts=2, fruitless_limit=2)
    decisions = follow(rules, [lost(left) for left in range(11, -1, -1)][:11])
    assert [decision.action for decision in decisions] == [Action.CONTINUE] * 10 + [Action.REQUEUE]


def test_losses_alone_end_a_job_that_never_saves() -> None:
    decisions = follow(FIXED, [lost(3)] * 9)
    assert len(decisions) == 5
    assert "saved nothing" in decisions[-1].reason
    endless = Rules(hosts=4, elastic=False, fruitless_limit=None)
    assert {decision.action for decision in follow(endless, [lost(3)] * 500)} == {Action.REQUEUE}


def test_hosts_that_never_came_are_no_fault_of_the_job() -> None:
    decisions = follow(RULES, [Ended(cause=Cause.NO_CAPACITY, hosts_left=3)] * 50, draw=0.999)
    assert {decision.action for decision in decisions} == {Action.REQUEUE}
    assert decisions[-1].wait_s == pytest.approx(99.9)


def test_the_end_of_the_budget_is_the_end() -> None:
    rules = Rules(hosts=4, min_hosts=1, budget=10.0)
    assert follow(rules, [lost(3, 1, cost=9.99)])[0].action is Action.CONTINUE
    decision = follow(rules, [lost(3, 1, cost=10.0)])[0]
    assert decision.action is Action.GIVE_UP
    assert decision.reason == "the budget of 10 is spent (10.00); checkpoint at step 1"


def test_the_end_of_its_hours_is_the_end() -> None:
    rules = Rules(hosts=4, min_hosts=1, longest_s=7200.0)
    late = Ended(cause=Cause.INTERRUPTED, hosts_left=3, checkpoint_step=1, seconds=7199.0)
    assert follow(rules, [late])[0].action is Action.CONTINUE
    decision = follow(rules, [replace(late, seconds=7200.0)])[0]
    assert (decision.action, decision.reason) == (
        Action.GIVE_UP,
        "the 2 hours are over; checkpoint at step 1",
    )


def test_hosts_that_do_not_come_for_days_are_the_end() -> None:
    rules = Rules(hosts=4, patience_s=1000.0)
    misses = [Ended(cause=Cause.NO_CAPACITY, now=5000.0 + 400 * number) for number in range(9)]
    decisions = follow(rules, misses)
    assert [decision.action for decision in decisions] == [Action.REQUEUE] * 3 + [Action.GIVE_UP]
    assert "4 attempts in 0.0115741 days got no hosts; no checkpoint" in decisions[-1].reason
    # A record from before this was counted waits from now on.
    old, _ = after(rules, Tally(unplaced=7), misses[0], 0.5)
    assert old.action is Action.REQUEUE
    # Hosts in between begin a new count.
    came = Ended(cause=Cause.INTERRUPTED, now=5500.0)
    assert follow(rules, [*misses[:3], came, *misses[3:5]])[-1].action is Action.REQUEUE


def test_what_hangs_is_tried_again_and_is_no_failure_of_the_program() -> None:
    hanging = Ended(cause=Cause.STALLED)
    decisions = follow(RULES, [hanging] * 9)
    assert [decision.action for decision in decisions] == [Action.REQUEUE] * 4 + [Action.GIVE_UP]
    assert "5 attempts in a row saved nothing" in decisions[-1].reason
    assert decisions[0].reason.startswith("stalled: again with 4 hosts")


@pytest.mark.parametrize(
    ("cause", "action"), [(Cause.FINISHED, Action.COMPLETE), (Cause.CANCELLED, Action.STOP)]
)
def test_ends_that_are_wanted(cause: Cause, action: Action) -> None:
    spent = Rules(hosts=1, budget=1.0)
    assert after(spent, Tally(failures=9), Ended(cause=cause, cost=5.0), 0.0)[0].action is action


@pytest.mark.parametrize(
    "members",
    [
        {"hosts": 0},
        {"hosts": 2, "min_hosts": 3},
        {"hosts": 2, "min_hosts": 0},
        {"hosts": 1, "poison_limit": 0},
        {"hosts": 1, "fruitless_limit": 0},
        {"hosts": 1, "first_wait_s": 2.0, "longest_wait_s": 1.0},
    ],
)
def test_rules_that_contradict_each_other(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\bis\b|\bare\b"):
        Rules(**members)


EVENTS = st.lists(
    st.builds(
        Ended,
        cause=st.sampled_from([Cause.INTERRUPTED, Cause.STALLED, Cause.FAILED, Cause.NO_CAPACITY]),
        hosts_left=st.integers(0, 4),
        checkpoint_step=st.integers(-1, 5),
        # Between it and the one before; the test adds them up.
        now=st.integers(0, 60),
    ),
    max_size=60,
)


@given(
    events=EVENTS, elastic=st.booleans(), min_hosts=st.integers(1, 4), draw=st.floats(0, 1, exclude_max=True)
)
def test_whatever_happens(events: list[Ended], elastic: bool, min_hosts: int, draw: float) -> None:
    """Waits stay in their bounds, worlds in theirs, and an end comes exactly when a limit is reached."""
    rules = Rules(
        hosts=4, min_hosts=min_hosts, elastic=elastic, poison_limit=3, fruitless_limit=5, patience_s=100
    )
    tally, newest, failures, attempts = Tally(), -1, 0, 0
    now, without = 1000.0, None
    for given_event in events:
        now += given_event.now
        event = replace(given_event, now=now)
        without = (without or now) if event.cause is Cause.NO_CAPACITY else None
        decision, tally = after(rules, tally, event, draw)
        goes_on = elastic and event.cause is not Cause.NO_CAPACITY and event.hosts_left >= min_hosts
        if event.cause is not Cause.NO_CAPACITY:
            if event.checkpoint_step > newest:
                newest, failures, attempts = event.checkpoint_step, 0, 0
            else:
                failures += event.cause is Cause.FAILED
                attempts += not goes_on
        assert tally.checkpoint_step == newest
        if failures >= 3 or attempts >= 5 or (without and now - without >= 100):
            assert decision.action is Action.GIVE_UP
            return
        assert decision.action is (Action.CONTINUE if goes_on else Action.REQUEUE)
        assert min_hosts <= decision.hosts <= 4
        assert 0 <= decision.wait_s <= rules.longest_wait_s
        assert decision.hosts == (event.hosts_left if goes_on else 4)
        assert decision.reason
