"""What target tracking decides: bounds, cooldowns, agreement of policies."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.autoscaling.rules.alarm import State
from localcloud.autoscaling.rules.tracking import (
    AT_DESIRED,
    AT_MAXIMUM,
    AT_MINIMUM,
    Bounds,
    Change,
    Memory,
    NotScaled,
    Policy,
    Signal,
    Suspended,
    decide,
    look,
    need,
    remember,
)

POLICY = Policy(name="p", target=70)
BOUNDS = Bounds(minimum=1, maximum=10)
RUNNING = Suspended()
FRESH = Memory()
values = st.floats(0, 5000)
series = st.lists(st.none() | values, min_size=1, max_size=30)
policies = st.builds(
    Policy,
    name=st.sampled_from("abc"),
    target=st.floats(1, 500),
    out_cooldown=st.floats(0, 600),
    in_cooldown=st.floats(0, 600),
    disable_in=st.booleans(),
)
states = st.sampled_from(State)
memories = st.builds(
    Memory, out_until=st.floats(0, 2000), in_until=st.floats(0, 2000), out_base=st.integers(1, 20)
)
bounds = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(
    lambda pair: Bounds(minimum=min(pair), maximum=max(pair))
)
suspensions = st.builds(Suspended, scale_in=st.booleans(), scale_out=st.booleans())


def high(value: float, policy: Policy = POLICY) -> Signal:
    return Signal(policy=policy, high=State.ALARM, low=State.OK, newest=value, peak=value)


def low(value: float, policy: Policy = POLICY) -> Signal:
    return Signal(policy=policy, high=State.OK, low=State.ALARM, newest=value, peak=value)


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    policy = draw(policies)
    newest = draw(values)
    peak = max(newest, draw(values))
    low_state = None if policy.disable_in else draw(states)
    return Signal(policy=policy, high=draw(states), low=low_state, newest=newest, peak=peak)


@given(st.lists(signals(), max_size=4), st.integers(0, 30), bounds, suspensions, memories, st.floats(0, 2000))
def test_every_decision_is_allowed(
    found: list[Signal], capacity: int, limits: Bounds, suspended: Suspended, memory: Memory, now: float
) -> None:
    change = decide(found, capacity, limits, suspended, memory, now)
    if not isinstance(change, Change):
        return
    assert limits.minimum <= change.capacity <= limits.maximum
    assert change.capacity != capacity
    if change.out:
        assert not suspended.scale_out
        assert any(signal.high is State.ALARM for signal in found)
    else:
        assert not suspended.scale_in
        assert now >= memory.in_until
        agreeing = [signal for signal in found if signal.low is not None]
        assert agreeing
        assert all(signal.low is State.ALARM for signal in agreeing)
        # Whatever load the metrics showed fits into what stays, by every policy, unless the maximum forbids.
        for signal in agreeing:
            assert signal.peak is not None
            wanted = math.ceil(round(capacity * signal.peak / signal.policy.target, 6))
            assert change.capacity >= min(wanted, limits.maximum)


@given(
    st.floats(0, 5000),
    st.floats(0, 5000),
    st.integers(1, 20),
    bounds,
    memories,
    st.floats(0, 2000),
    st.booleans(),
)
def test_more_load_never_means_less_capacity(
    one: float, other: float, capacity: int, limits: Bounds, memory: Memory, now: float, out: bool
) -> None:
    less, more = sorted((one, other))
    kind = high if out else low

    def outcome(value: float) -> int:
        change = decide([kind(value)], capacity, limits, RUNNING, memory, now)
        return change.capacity if isinstance(change, Change) else capacity

    assert outcome(less) <= outcome(more)


@given(st.integers(1, 20), st.floats(0.01, 5000), st.floats(0.01, 5000))
def test_with_the_needed_capacity_the_metric_meets_its_target(
    capacity: int, value: float, target: float
) -> None:
    wanted = need(capacity, value, target)
    assert capacity * value / max(wanted, 1) <= target * (1 + 1e-5) + 1e-5


def test_rounding_of_many_parts_starts_nothing() -> None:
    shared = sum(1 / 3 for _ in range(210))
    assert need(3, shared, 70.0) == 3


@given(series, policies, st.lists(st.none() | values, max_size=3))
def test_no_data_no_decision(points: list[float | None], policy: Policy, more: list[float | None]) -> None:
    silent: list[float | None] = [None] * (policy.low.periods + 2 if policy.low else 5)
    signal = look(look(Signal(policy=policy), [*points, *more]), [*points, *more, *silent])
    assert decide([signal], 5, BOUNDS, RUNNING, FRESH, 0.0) is None


def test_three_datapoints_out_fifteen_in() -> None:
    def decided(points: list[float | None], capacity: int) -> Change | NotScaled | None:
        return decide([look(Signal(policy=POLICY), points)], capacity, BOUNDS, RUNNING, FRESH, 0.0)

    assert decided([80, 140, 71][:2], 1) is None
    out = decided([80, 71, 140], 1)
    assert isinstance(out, Change)
    assert out.capacity == 2
    assert decided([62.9] * 14, 4) is None
    assert decided([30] * 7 + [64] + [30] * 8, 4) is None
    scale_in = decided([30.0] * 14 + [10.0], 4)
    assert isinstance(scale_in, Change)
    assert scale_in.capacity == 2  # by the highest of the fifteen, 4 * 30 / 70, not by the newest


def test_cooldown_of_scale_out_counts_what_was_added() -> None:
    first = decide([high(210)], 1, BOUNDS, RUNNING, FRESH, 0.0)
    assert isinstance(first, Change)
    assert first.capacity == 3
    memory = remember(FRESH, first, decided=0.0, completed=100.0)
    assert (memory.out_until, memory.out_base) == (400.0, 1)
    # The metric still shows the load on one instance.
    assert decide([high(210)], 3, BOUNDS, RUNNING, memory, 160.0) is None
    more = decide([high(350)], 3, BOUNDS, RUNNING, memory, 160.0)
    assert isinstance(more, Change)
    assert more.capacity == 5
    again = remember(memory, more, decided=160.0, completed=200.0)
    assert (again.out_until, again.out_base) == (500.0, 1)
    later = decide([high(105)], 5, BOUNDS, RUNNING, again, 500.0)
    assert isinstance(later, Change)
    assert later.capacity == 8


def test_cooldown_of_scale_in_blocks_scale_in_only() -> None:
    change = decide([low(10)], 6, BOUNDS, RUNNING, FRESH, 0.0)
    assert isinstance(change, Change)
    memory = remember(FRESH, change, decided=0.0, completed=10.0)
    assert decide([low(0)], change.capacity, BOUNDS, RUNNING, memory, 309.0) is None
    assert isinstance(decide([low(0)], 2, BOUNDS, RUNNING, memory, 310.0), Change)
    out = decide([high(200)], 2, BOUNDS, RUNNING, memory, 20.0)
    assert isinstance(out, Change)
    assert remember(memory, out, decided=20.0, completed=30.0).in_until == -math.inf


def test_several_policies() -> None:
    other = Policy(name="q", target=10)
    largest = decide([high(140), high(40, other)], 2, BOUNDS, RUNNING, FRESH, 0.0)
    assert isinstance(largest, Change)
    assert (largest.capacity, largest.policy.name) == (8, "q")
    assert decide([low(1), high(5, other)], 2, BOUNDS, RUNNING, FRESH, 0.0) == NotScaled(
        code=AT_DESIRED, policy=other, out=True
    )
    disagreeing = Signal(policy=other, high=State.OK, low=State.OK, newest=9.5, peak=9.5)
    assert decide([low(1), disagreeing], 2, BOUNDS, RUNNING, FRESH, 0.0) is None
    silent = Signal(policy=other, low=State.INSUFFICIENT_DATA)
    assert decide([low(1), silent], 2, BOUNDS, RUNNING, FRESH, 0.0) is None
    only_out = look(Signal(policy=Policy(name="r", target=10, disable_in=True)), [9.0] * 20)
    both = decide([low(1), only_out], 2, BOUNDS, RUNNING, FRESH, 0.0)
    assert isinstance(both, Change)
    assert both.capacity == 1


@pytest.mark.parametrize(
    ("signal", "capacity", "code"),
    [(high(500), 10, AT_MAXIMUM), (low(0), 1, AT_MINIMUM), (low(40), 2, AT_DESIRED)],
)
def test_reasons_not_to_scale(signal: Signal, capacity: int, code: str) -> None:
    found = decide([signal], capacity, BOUNDS, RUNNING, FRESH, 0.0)
    assert isinstance(found, NotScaled)
    assert found.code == code


def test_suspended_and_disabled() -> None:
    assert decide([high(500)], 1, BOUNDS, Suspended(scale_out=True), FRESH, 0.0) is None
    assert decide([low(0)], 5, BOUNDS, Suspended(scale_in=True), FRESH, 0.0) is None
    disabled = look(Signal(policy=Policy(name="r", target=70, disable_in=True)), [0.0] * 20)
    assert decide([disabled], 5, BOUNDS, RUNNING, FRESH, 0.0) is None


def test_high_resolution_metrics() -> None:
    fast = Policy(name="f", target=5, period=10)
    assert fast.high.periods == 3
    assert fast.low is not None
    assert fast.low.periods == 90
