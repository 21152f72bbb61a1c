"""When a canary is promoted or rolled back, and how often the statistics are wrong about it."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_runtime.canary import Conclusion, Figures, Rules, chance_of_errors, judge
from serving_runtime.record import Verdict
from serving_runtime.wishes import metadata_of, percent_of, verdict_of

RULES = Rules(bake_seconds=1800, longest_seconds=86_400, least_requests=100)
BAKED = 1800.0


def figures(requests, errors=0, p90=20.0):
    return Figures(requests=requests, errors=errors, p90_ms=p90)


def outcome(old, new, age=BAKED, rules=RULES):
    conclusion = judge(old, new, age_seconds=age, rules=rules)
    return conclusion.outcome if conclusion else None


@pytest.mark.parametrize(
    ("old", "new", "age", "expected"),
    [
        # Promotion: bake time and requests on both sides, both of them.
        (figures(900), figures(100), BAKED, "promoted"),
        (figures(900), figures(100), BAKED - 1, None),
        (figures(900), figures(99), BAKED, None),
        (figures(99), figures(900), BAKED, None),
        (figures(900, 9), figures(100, 1), BAKED, "promoted"),
        (figures(900, p90=None), figures(100, p90=None), BAKED, "promoted"),
        # Errors: at once, however few requests there are, once it is certain.
        (figures(50), figures(5, 5), 60, "rolled-back"),
        (figures(9), figures(1, 1), 60, None),
        (figures(0), figures(50, 50), 60, None),
        (figures(900, 9), figures(100, 3), 60, None),
        (figures(900, 9), figures(100, 12), 60, "rolled-back"),
        # As bad as before is no reason, nor is a difference that no caller feels.
        (figures(900, 900), figures(100, 100), BAKED, "promoted"),
        (figures(9_000_000, 9_000), figures(1_000_000, 4_000), BAKED, "promoted"),
        (figures(9_000_000, 9_000), figures(1_000_000, 7_000), BAKED, "rolled-back"),
        # Latency: 20 ms before, so 35 ms with factor 1.5 and 5 ms of slack.
        (figures(900), figures(100, p90=34.9), BAKED, "promoted"),
        (figures(900), figures(100, p90=35.1), 60, "rolled-back"),
        (figures(900), figures(99, p90=500.0), 60, None),
        (figures(900, p90=1.0), figures(100, p90=6.0), BAKED, "promoted"),
        # Nobody asks: it stays until the longest time is over, and is then given up.
        (figures(0, p90=None), figures(0, p90=None), 86_399, None),
        (figures(0, p90=None), figures(0, p90=None), 86_400, "rolled-back"),
        (figures(900), figures(99), 86_400, "rolled-back"),
        (figures(900), figures(100), 90_000, "promoted"),
    ],
)
def test_conclusions(old, new, age, expected):
    assert outcome(old, new, age) == expected


def test_a_reason_names_the_figures():
    conclusion = judge(figures(900, 9), figures(100, 12), age_seconds=60, rules=RULES)
    assert conclusion == Conclusion(
        outcome="rolled-back",
        reason="errors: 12 of 100 requests failed - before 9 of 900 - by chance p=7.3e-08",
    )
    conclusion = judge(figures(900), figures(100, p90=80.0), age_seconds=60, rules=RULES)
    assert conclusion.reason == "latency: p90 80.0 ms - before 20.0 ms - bound 35.0 ms - 100 requests"
    conclusion = judge(figures(5), figures(1), age_seconds=86_400, rules=RULES)
    assert conclusion.reason == "too few requests in 1.0 days for a comparison: 1 - before 5"


@given(
    requests=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    data=st.data(),
)
def test_the_test_is_fishers(requests, data):
    """Against its definition in whole numbers."""
    old, new = requests
    errors = data.draw(st.integers(0, old)), data.draw(st.integers(0, new))
    both = sum(errors)
    ways = sum(
        math.comb(new, count) * math.comb(old, both - count)
        for count in range(errors[1], min(both, new) + 1)
        if both - count <= old
    )
    exact = ways / math.comb(old + new, both)
    assert chance_of_errors(figures(old, errors[0]), figures(new, errors[1])) == pytest.approx(exact)


def test_the_test_is_quick_for_millions_of_requests():
    assert chance_of_errors(figures(10**9, 10**6), figures(10**8, 101_500)) < 0.001
    assert chance_of_errors(figures(10**9, 10**6), figures(10**8, 100_010)) > 0.4


def simulated(rng, rate_old, rate_new, minutes=30, per_minute=100, share=0.1):
    """A canary looked at once a minute, as the deployer does, until there is a conclusion."""
    requests, errors = [0, 0], [0, 0]
    for minute in range(1, minutes + 1):
        for _ in range(per_minute):
            side = rng.random() < share
            requests[side] += 1
            errors[side] += rng.random() < (rate_new if side else rate_old)
        old, new = (figures(requests[side], errors[side]) for side in (0, 1))
        conclusion = judge(old, new, age_seconds=60.0 * minute, rules=RULES)
        if conclusion:
            return conclusion.outcome, minute
    return None, minutes


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1])
def test_good_canaries_are_seldom_rolled_back(rate):
    """30 looks at 0.001 each are at most 3 in 100; fewer, as they are looks at the same requests."""
    rng = random.Random(1)
    wrong = sum(simulated(rng, rate, rate)[0] == "rolled-back" for _ in range(200))
    assert wrong <= 6


@pytest.mark.parametrize(("rate", "within"), [(1.0, 2), (0.2, 10), (0.1, 30)])
def test_bad_canaries_are_rolled_back_soon(rate, within):
    rng = random.Random(2)
    ends = [simulated(rng, 0.01, rate) for _ in range(50)]
    assert {outcome for outcome, _ in ends} == {"rolled-back"}
    assert sorted(minute for _, minute in ends)[45] <= within


@pytest.mark.parametrize(
    "change",
    [
        {"bake_seconds": 0, "warm_up_seconds": 0},
        {"warm_up_seconds": -1},
        {"warm_up_seconds": 61, "bake_seconds": 60},
        {"bake_seconds": 100, "longest_seconds": 99},
        {"least_requests": 0},
        {"significance": 0.0},
        {"significance": 0.5},
        {"margin": 1.0},
        {"latency_factor": 0.9},
        {"latency_slack_ms": -1.0},
    ],
)
def test_rules_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match="canary's"):
        Rules(**change)


@pytest.mark.parametrize(
    ("metadata", "percent"),
    [
        ({}, None),
        ({"canary-percent": "10"}, 10),
        ({"canary-percent": "99", "canary-verdict": "rolled-back"}, 99),
        ({"canary-percent": "10", "canary-verdict": "promoted"}, None),
    ],
)
def test_wishes(metadata, percent):
    assert percent_of(metadata) == percent


@pytest.mark.parametrize("value", ["0", "100", "-1", "ten", "", "1.5", "010"])
def test_shares_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match=r"canary-percent is .*; approve it again with 1 to 99"):
        percent_of({"canary-percent": value})


def test_a_verdict_survives_the_registry():
    verdict = Verdict(version=3, outcome="promoted", reason="2 of 900 failed", at="2026-01-01T00:00:00+00:00")
    metadata = {"canary-percent": "10", **metadata_of(verdict)}
    assert verdict_of(3, metadata) == verdict
    assert verdict_of(3, {"canary-percent": "10"}) is None
    hostile = metadata_of(Verdict(version=3, outcome="promoted", reason="50 % (é), " + "x" * 400, at="now"))
    assert len(hostile["canary-reason"]) <= 256
    assert "%" not in hostile["canary-reason"]
