"""Points of a metric that become one: what CloudWatch would say stays right."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import cloudwatch

from localcloud.aws.differences.bounded_memory import merged


def point(at: float, value: float, **members: Any) -> dict[str, Any]:
    return {"Timestamp": at, "Unit": "Count", "Dimensions": {}, "Value": value, "Count": 1.0, **members}


def test_equal_points_of_a_minute_become_one() -> None:
    found = merged([point(60, 1), point(61, 1), point(119.9, 1), point(120, 1), point(121, 0)], 60)
    assert [(each["Timestamp"], each["Value"], each["Count"]) for each in found] == [
        (60, 1, 3),
        (120, 1, 1),
        (121, 0, 1),
    ]


def test_units_and_statistic_sets_stay_apart() -> None:
    sets = [point(60, 1, _stat={"SampleCount": 2}), point(60, 1, _stat={"SampleCount": 3})]
    assert len(merged([point(60, 1), point(60, 1, Unit="Seconds"), *sets], 60)) == 4


def test_what_came_in_is_not_changed() -> None:
    first = point(60, 1.2345)
    merged([first, point(60, 1.2345)], 60)
    assert (first["Value"], first["Count"]) == (1.2345, 1.0)


@given(
    st.lists(st.tuples(st.floats(0, 600), st.floats(-1e6, 1e6), st.integers(1, 5)), min_size=1, max_size=200)
)
def test_counts_sums_and_extremes_of_a_minute_stay(entries: list[tuple[float, float, int]]) -> None:
    points = [point(at, value, Count=float(count)) for at, value, count in entries]
    once = merged(points, 60)
    for minute in range(11):
        before, after = (
            [each for each in found if each["Timestamp"] // 60 == minute] for found in (points, once)
        )
        if not before:
            assert not after
            continue
        assert total(after) == pytest.approx(total(before), rel=1e-9, abs=1e-3)
        assert sum(each["Count"] for each in after) == sum(each["Count"] for each in before)
        for extreme in (min, max):
            assert extreme(each["Value"] for each in after) == extreme(each["Value"] for each in before)
    assert merged(once, 60) == once


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_stay_to_a_percent(values: list[float], percent: float) -> None:
    points = [point(0, value) for value in values]
    before, after = (
        cloudwatch._percentile(cloudwatch._percentile_samples(found), percent)
        for found in (points, merged(points, 60))
    )
    assert after == pytest.approx(before, rel=0.0101)


def test_a_minute_of_any_load_leaves_few_points() -> None:
    """Latencies from 5 to 500 ms, by the thousand a second."""
    chance = random.Random(7)
    points = [point(at / 1000, 5 * 100 ** chance.random()) for at in range(60_000)]
    assert len(merged(points, 60)) < 500


def total(points: list[dict[str, Any]]) -> float:
    return float(sum(each["Value"] * each["Count"] for each in points))
