"""Ranges and searches: every configuration lies in its ranges, none comes twice, a seed decides all."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.jobs.tuning.early_stopping import is_worse_than_median
from localcloud.sagemaker.jobs.tuning.ranges import Category, Number, combinations, parse_ranges
from localcloud.sagemaker.jobs.tuning.search import Resource, Search, make_search

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def continuous(low: str, high: str, scaling: str = "Linear", name: str = "x") -> dict[str, Any]:
    return {
        "ContinuousParameterRanges": [
            {"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": scaling}
        ]
    }


def integer(low: int, high: int, scaling: str = "Linear", name: str = "n") -> dict[str, Any]:
    return {
        "IntegerParameterRanges": [
            {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}
        ]
    }


def categories(*values: str, name: str = "c") -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": name, "Values": list(values)}]}


def drawn(search: Search, count: int) -> list[dict[str, str]]:
    """So many configurations, each told an objective."""
    found = []
    for step in range(count):
        suggestion = search.suggest()
        assert suggestion is not None
        search.tell(suggestion[0], float(step % 5))
        found.append(suggestion[1])
    return found


def search_of(ranges: dict[str, Any], strategy: str = "Random", seed: int | None = 1) -> Search:
    resource = Resource(low=1, high=9) if strategy == "Hyperband" else None
    return make_search(
        parse_ranges(ranges, "R"), strategy=strategy, maximize=True, seed=seed, resource=resource
    )


@QUICK
@given(
    st.tuples(FLOATS, FLOATS).filter(lambda pair: pair[0] < pair[1]),
    st.sampled_from(["Random", "Bayesian", "Hyperband"]),
    st.sampled_from(["Auto", "Linear"]),
    st.integers(0, 2**32 - 1),
)
def test_continuous_values_stay_inside(
    bounds: tuple[float, float], strategy: str, scaling: str, seed: int
) -> None:
    low, high = bounds
    for values in drawn(search_of(continuous(repr(low), repr(high), scaling), strategy, seed), 12):
        assert low <= float(values["x"]) <= high


@QUICK
@given(
    st.floats(1e-9, 1e3), st.floats(1.001, 1e9), st.sampled_from(["Logarithmic", "Auto"]), st.integers(0, 99)
)
def test_logarithmic_values_stay_inside(low: float, ratio: float, scaling: str, seed: int) -> None:
    for values in drawn(search_of(continuous(repr(low), repr(low * ratio), scaling), seed=seed), 8):
        assert low <= float(values["x"]) <= low * ratio


@QUICK
@given(
    st.floats(0, 0.999999).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 0.9999999))),
    st.integers(0, 99),
)
def test_reverse_logarithmic_values_stay_inside(bounds: tuple[float, float], seed: int) -> None:
    low, high = bounds
    if not low < high:
        return
    for values in drawn(search_of(continuous(repr(low), repr(high), "ReverseLogarithmic"), seed=seed), 8):
        assert low <= float(values["x"]) <= high


@QUICK
@given(
    st.integers(-1000, 1000),
    st.integers(1, 500),
    st.sampled_from(["Random", "Bayesian"]),
    st.integers(0, 99),
)
def test_integers_are_integers_inside(low: int, width: int, strategy: str, seed: int) -> None:
    for values in drawn(search_of(integer(low, low + width, "Auto"), strategy, seed), min(12, width + 1)):
        assert str(int(values["n"])) == values["n"]
        assert low <= int(values["n"]) <= low + width


def test_scales_put_the_weight_where_they_should() -> None:
    def share(ranges: dict[str, Any], below: float) -> float:
        values = [float(item["x"]) for item in drawn(search_of(ranges), 400)]
        return sum(value < below for value in values) / len(values)

    # Half of the magnitudes of 0.0001 to 1 lie below 0.01, and 1 % of its length.
    assert share(continuous("0.0001", "1", "Logarithmic"), 0.01) == pytest.approx(0.5, abs=0.1)
    assert share(continuous("0.0001", "1", "Auto"), 0.01) == pytest.approx(0.5, abs=0.1)
    assert share(continuous("0.0001", "1", "Linear"), 0.01) < 0.05
    assert share(continuous("0", "0.9999", "ReverseLogarithmic"), 0.99) == pytest.approx(0.5, abs=0.1)
    assert share(continuous("1", "50", "Auto"), 25.5) == pytest.approx(0.5, abs=0.1)


@QUICK
@given(
    st.integers(1, 4),
    st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True),
    st.sampled_from(["Random", "Bayesian", "Hyperband"]),
    st.integers(0, 99),
)
def test_a_small_space_is_tried_whole_and_nothing_twice(
    width: int, values: list[str], strategy: str, seed: int
) -> None:
    ranges = {**integer(0, width), **categories(*values)}
    search = search_of(ranges, strategy, seed)
    size = int(combinations(parse_ranges(ranges, "R")))
    found = drawn(search, size)
    assert len({(item["n"], item["c"]) for item in found}) == size
    assert search.suggest() is None


@QUICK
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_grid_counts_every_combination_once(sizes: list[int]) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": f"p{place}", "Values": [str(value) for value in range(size)]}
            for place, size in enumerate(sizes)
        ]
    }
    search = search_of(ranges, "Grid")
    found = drawn(search, math.prod(sizes))
    assert len({tuple(item.values()) for item in found}) == math.prod(sizes)
    assert search.suggest() is None


@pytest.mark.parametrize("strategy", ["Random", "Bayesian", "Hyperband"])
def test_a_seed_decides(strategy: str) -> None:
    ranges = {**continuous("0", "1"), **categories("a", "b")}
    one, two = (drawn(search_of(ranges, strategy, 5), 20) for _ in range(2))
    other = drawn(search_of(ranges, strategy, 6), 20)
    free, again = (drawn(search_of(ranges, strategy, None), 20) for _ in range(2))
    assert one == two
    assert one != other
    assert free != again


def test_bayesian_search_finds_what_random_search_does_not() -> None:
    def best(strategy: str, seed: int) -> float:
        search = search_of({**continuous("-5", "5"), **continuous("-5", "5", name="x")}, strategy, seed)
        found = -math.inf
        for _ in range(40):
            suggestion = search.suggest()
            assert suggestion is not None
            value = -((float(suggestion[1]["x"]) - 2) ** 2)
            search.tell(suggestion[0], value)
            found = max(found, value)
        return found

    bayesian = sorted(best("Bayesian", seed) for seed in range(7))[3]
    random = sorted(best("Random", seed) for seed in range(7))[3]
    assert bayesian > random


def test_what_is_learnt_guides_the_search() -> None:
    search = search_of(continuous("0", "100"), "Bayesian")
    for step in range(30):
        search.learn({"x": str(step * 3)}, -((step * 3 - 42.0) ** 2))
    # Another hyperparameter's, one outside, one that is no number: none of use, none an error.
    for stranger in ({"y": "1"}, {"x": "101"}, {"x": "much"}):
        search.learn(stranger, 9.0)
    values = []
    for _ in range(10):
        suggestion = search.suggest()
        assert suggestion is not None
        search.tell(suggestion[0], None)
        values.append(float(suggestion[1]["x"]))
    assert sum(35 < value < 49 for value in values) >= 6


def test_hyperband_stops_the_worst_and_never_the_last_within_its_resource() -> None:
    search = search_of(continuous("0", "1"), "Hyperband")
    stopped = 0
    for _ in range(12):
        suggestion = search.suggest()
        assert suggestion is not None
        number, values = suggestion
        for step in range(1, 10):
            if search.report(number, step, float(values["x"])):
                stopped += 1
                break
        else:
            assert search.report(number, 10, float(values["x"]))
        search.tell(number, float(values["x"]))
    assert 1 <= stopped < 12


def test_optuna_waits_for_the_first_search() -> None:
    code = (
        "import sys; import localcloud.sagemaker.jobs.tuning.operations; "
        "raise SystemExit('optuna' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({}, "at least one hyperparameter range"),
        (continuous("0", "a"), "must be numbers"),
        (continuous("0", "inf"), "must be numbers"),
        (continuous("-1e308", "1e308"), "too wide"),
        (continuous("1", "1"), "must be less than"),
        (continuous("2", "1"), "must be less than"),
        (continuous("0", "1", "Logarithmic"), "greater than 0"),
        (continuous("0.5", "1", "ReverseLogarithmic"), "less than 1"),
        (integer(3, 3), "must be less than"),
        (integer(1, 10, "ReverseLogarithmic"), "continuous ranges only"),
        (integer(0, 2**60), "too wide"),
        ({"IntegerParameterRanges": [{"Name": "n", "MinValue": "1.5", "MaxValue": "3"}]}, "must be integers"),
        (categories("a", "a"), "more than once"),
        ({**continuous("0", "1", name="c"), **categories("a")}, "more than one range"),
        ({"AutoParameters": [{"Name": "n", "ValueHint": "1"}]}, "does not support AutoParameters"),
        (
            {
                "CategoricalParameterRanges": [
                    {"Name": f"p{number}", "Values": ["a", "b"]} for number in range(20)
                ],
                "IntegerParameterRanges": [
                    {"Name": f"i{number}", "MinValue": "0", "MaxValue": "1"} for number in range(11)
                ],
            },
            "exceed the limit of 30",
        ),
    ],
)
def test_ranges_that_cannot_be_searched(ranges: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        parse_ranges(ranges, "R")
    assert caught.value.code == "ValidationException"


def test_how_many_configurations_there_are() -> None:
    assert combinations(parse_ranges({**integer(1, 4), **categories("a", "b", "c")}, "R")) == 12
    assert combinations(parse_ranges({**integer(1, 4), **continuous("0", "1")}, "R")) == math.inf
    assert Category(name="c", values=("a",)).combinations == 1
    number = Number(name="n", low=0, high=1, scaling="Linear", integer=False)
    assert number.read(number.write(1 / 3)) == 1 / 3


@pytest.mark.parametrize(
    ("objectives", "completed", "maximize", "stop"),
    [
        ([0.5], [], True, False),
        ([], [[0.9]], True, False),
        ([0.5], [[0.6, 0.1]], True, True),
        ([0.5], [[0.6, 0.1]], False, False),
        ([0.5, 0.5], [[0.6, 0.1]], True, False),
        ([9.0, 0.5], [[0.6, 0.6]], True, True),
        # The median of the means 0.1, 0.5 and 0.9; a job that was shorter counts with what it has.
        ([0.0, 0.49], [[0.1], [0.4, 0.6], [0.9, 0.9, 0.1]], True, True),
        ([0.0, 0.5], [[0.1], [0.4, 0.6], [0.9, 0.9, 0.1]], True, False),
    ],
)
def test_the_median_rule(
    objectives: list[float], completed: list[list[float]], maximize: bool, stop: bool
) -> None:
    assert is_worse_than_median(objectives, completed, maximize=maximize) is stop
