"""The caches that a benchmark computes, and what it and the one of shared calls conclude."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import micro_batching, model_eviction
from benchmarks.cache_policies import lru_hits, optimal_hits, zipf
from benchmarks.model_cache import Scale, Stretch, summary

TRACES = st.lists(st.integers(0, 7), max_size=60)


def test_the_classical_example():
    trace = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]
    assert sum(lru_hits(trace, 3)) == 2
    assert sum(optimal_hits(trace, 3)) == 5


@given(TRACES, st.integers(1, 8))
def test_nothing_beats_the_one_that_knows_the_future(trace, size):
    assert sum(lru_hits(trace, size)) <= sum(optimal_hits(trace, size))


@given(TRACES)
def test_what_holds_everything_misses_each_item_once(trace):
    hits = len(trace) - len(set(trace))
    assert sum(lru_hits(trace, 8)) == sum(optimal_hits(trace, 8)) == hits


@given(TRACES, st.integers(1, 7))
def test_a_larger_cache_hits_wherever_a_smaller_one_does(trace, size):
    pairs = zip(lru_hits(trace, size), lru_hits(trace, size + 1), strict=True)
    assert all(larger or not smaller for smaller, larger in pairs)


def test_draws_follow_the_law_and_repeat():
    drawn = zipf(100, 1.0, 20_000)
    assert drawn == zipf(100, 1.0, 20_000)
    assert 1.8 < drawn.count(0) / drawn.count(1) < 2.2


def found(*, hits=95, p99=0.002, peak=200.0):
    slow = Stretch([p99] * 100, [True] * hits + [False] * (100 - hits))
    calm = Stretch([0.001] * 100, [True] * 100)
    return {
        "busy": [slow],
        "calm": [calm],
        "lru": 1.0,
        "optimal": 1.0,
        "base": 90.0,
        "full": 190.0,
        "peak": peak,
    }


def test_each_bound_is_held_or_not():
    def holds(**changes):
        return summary(found(**changes), 100, Scale())["holds"]

    assert holds()
    assert not holds(hits=94)
    assert not holds(p99=0.0021)
    assert not holds(peak=201.0)


def test_one_round_in_nine_decides_nothing_and_is_told():
    figures = found(p99=0.0015)
    slow = Stretch([0.009] * 100, [True] * 100)
    figures["busy"] = [*figures["busy"] * 8, slow]
    figures["calm"] *= 9
    told = summary(figures, 100, Scale())
    assert (told["p99_times"], told["p99_times_min"], told["p99_times_max"]) == (1.5, 1.5, 9.0)
    assert told["holds"]


def test_the_servers_own_eviction_has_the_same_bounds():
    lru, optimal = [True] * 100, [True] * 100

    def holds(hits=100, memory=1.0):
        told = model_eviction.summary(
            hits=[True] * hits + [False] * (100 - hits), lru=lru, optimal=optimal, memory=memory
        )
        return told["holds"]

    assert holds(95)
    assert not holds(94)
    assert not holds(memory=1.11)


def test_shared_calls_must_not_cost_where_the_server_shares_them():
    good = {name: [(10.0, 12.0), (10.0, 11.0), (10.0, 13.0)] for name in micro_batching.SHARED}
    found = micro_batching.summary(good | {"forest": [(10.0, 5.0)] * 3})
    assert (found["holds"], found["kinds"]["forest"]["shared_by_the_server"]) == (True, False)
    assert found["kinds"]["xgboost"]["gain"] == 1.2
    assert not micro_batching.summary(good | {"lightgbm": [(10.0, 9.0)] * 3})["holds"]
