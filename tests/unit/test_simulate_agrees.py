"""The simulator and the local cloud's scaling, on the same traffic: the same capacities, minute by minute."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.autoscaling.rules.tracking import Bounds, Policy
from modelyard_cli.simulate.plan import Machine, Plan, timed
from modelyard_cli.simulate.simulation import simulate
from modelyard_cli.simulate.trace import Trace
from tests.unit.scaling_world import START, World

levels = st.sampled_from([0.0, 30.0, 69.0, 71.0, 100.0, 150.0, 300.0, 900.0, None])
spans = st.tuples(levels, st.sampled_from([1, 3, 5, 16, 20]))


@given(
    st.lists(spans, min_size=2, max_size=6),
    st.integers(0, 4),
    st.sampled_from([0, 60, 300]),
    st.sampled_from([0, 120, 300]),
    st.integers(1, 2),
    st.integers(2, 8),
    st.booleans(),
    st.sampled_from([None, "rate(20 minutes) min=3", "cron(0/30 * * * ? *) min=2 max=4"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_capacities(
    monkeypatch: pytest.MonkeyPatch,
    blocks: list[tuple[float | None, int]],
    delay: int,
    out: int,
    scale_in: int,
    low: int,
    high: int,
    disable_in: bool,
    schedule: str | None,
) -> None:
    loads = tuple(load for load, minutes in blocks for _ in range(minutes))
    plan = Plan(
        name="p",
        policy=Policy(name="p", target=70, out_cooldown=out, in_cooldown=scale_in, disable_in=disable_in),
        bounds=Bounds(minimum=low, maximum=high),
        initial=low,
        schedules=(timed(schedule, START),) if schedule else (),
    )
    outcome = simulate(Trace("t", START, loads), plan, Machine(service=0.1, start=delay * 60))
    world = World(monkeypatch, 1.0)
    world.fleet.count = world.fleet.wanted = low
    world.target(low, high)
    world.policy("p", ScaleOutCooldown=out, ScaleInCooldown=scale_in, DisableScaleIn=disable_in)
    if schedule:
        expression, _, bounds = schedule.partition(") ")
        names = {"min": "MinCapacity", "max": "MaxCapacity"}
        pairs = (pair.split("=") for pair in bounds.split())
        world.schedule(f"{expression})", **{names[name]: int(value) for name, value in pairs})
    world.fleet.delay = delay
    served = []
    for load in loads:
        served.append(float(world.fleet.count))
        world.minute(load)
    world.store.close()

    assert [minute.serving for minute in outcome.minutes] == served
