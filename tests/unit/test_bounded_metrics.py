"""Points of a metric that become one: what CloudWatch would say stays right."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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
    st.lists(st.tuples(st.floats(0, 600), st.floats(0.001, 1e6), st.integers(1, 5)), min_size=1, max_size=200)
)
def test_counts_are_exact_and_sums_within_half_a_percent(entries: list[tuple[float, float, int]]) -> None:
    points = [point(at, value, Count=float(count)) for at, value, count in entries]
    once = merged(points, 60)
    assert sum(each["Count"] for each in once) == sum(each["Count"] for each in points)
    total = sum(each["Value"] * each["Count"] for each in points)
    assert abs(sum(each["Value"] * each["Count"] for each in once) - total) <= 0.005 * total
    assert merged(once, 60) == once
