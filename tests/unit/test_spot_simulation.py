"""The simulation of Spot hosts against what can be computed by hand."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import harness
from benchmarks.spot_simulation import benchmark
from benchmarks.spot_simulation.assumptions import FIXED, MEANING, Assumptions
from benchmarks.spot_simulation.gang import DRAIN, ELASTIC, NO_CHECKPOINT, POLICIES, RESTART, Policy, simulate
from benchmarks.spot_simulation.study import compare, quantile
from benchmarks.spot_simulation.traces import Outage, Poisson, Quiet

# 4 hosts, 4 node-hours: an hour of training; every host takes 100 s to start.
PLAIN = Assumptions(
    hours=4.0,
    hosts=4,
    min_hosts=2,
    price=0.36,
    start_s=(100.0, 100.0),
    cadence_s=600.0,
    checkpoint_s=0.0,
    recovery_s=15.0,
    restart_s=60.0,
    efficiency=1.0,
    notice_s=120.0,
    noticed=1.0,
    first_wait_s=0.0,
)
HOUR = 3600.0


@dataclass(frozen=True)
class Fixed:
    """Losses at known times."""

    losses: Sequence[tuple[int, float]]

    def outages(self, _seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
        return [iter([Outage(at, at) for host, at in self.losses if host == each]) for each in range(hosts)]


ONE = Fixed([(0, 2000.0)])


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_without_losses_the_cost_is_the_price(policy: Policy) -> None:
    outcome = compare(PLAIN, Quiet(), [0], [policy])[policy.name]
    assert (outcome.costs, outcome.times, outcome.kept) == ([0.36], [1.0], [1.0])
    # Times that are no round numbers add up to the last digit or two only.
    uneven = replace(PLAIN, start_s=(50.0, 500.0))
    outcome = compare(uneven, Quiet(), range(5), [policy])[policy.name]
    assert outcome.costs == pytest.approx([0.36] * 5, rel=1e-12)
    run = simulate(PLAIN, policy, Quiet(), 0)
    assert run.finished
    assert run.seconds == pytest.approx(100 + HOUR)
    assert run.host_seconds == pytest.approx(4 * (100 + HOUR))
    assert (run.lost, run.losses, run.attempts, run.gave_up) == (0.0, 0, 1, "")


def test_checkpoints_cost_their_pause_and_the_last_stretch_needs_none() -> None:
    costly = replace(PLAIN, checkpoint_s=30.0)
    # 3600 s in stretches of 600 s have 5 checkpoints between them.
    assert simulate(costly, ELASTIC, Quiet(), 0).seconds == pytest.approx(100 + HOUR + 5 * 30)
    assert simulate(costly, NO_CHECKPOINT, Quiet(), 0).seconds == pytest.approx(100 + HOUR)


def test_one_loss_without_checkpoints_starts_all_over() -> None:
    run = simulate(PLAIN, NO_CHECKPOINT, ONE, 0)
    # Lost after 1900 s of training; 100 s until the new host is up, 60 s until the job is.
    assert run.seconds == pytest.approx(2000 + 100 + 60 + HOUR)
    assert run.lost == pytest.approx(4 * 1900)
    assert (run.losses, run.attempts) == (1, 2)


def test_one_loss_with_a_restart_costs_the_work_since_the_checkpoint() -> None:
    run = simulate(PLAIN, RESTART, ONE, 0)
    # Training began at 100, so the checkpoints were at 700, 1300 and 1900: 1800 s are safe, 100 s are not.
    assert run.lost == pytest.approx(4 * 100)
    assert run.seconds == pytest.approx(2000 + 100 + 60 + (HOUR - 1800))
    # Three hosts all along; the fourth until 2000 and its successor from 2000.
    assert run.host_seconds == pytest.approx(4 * run.seconds)
    assert run.attempts == 2


def test_one_loss_of_an_elastic_job_goes_on_with_three_hosts() -> None:
    run = simulate(PLAIN, ELASTIC, ONE, 0)
    # 15 s to recover; three hosts train from 2015 to the next checkpoint at 2615 (the new host is up at
    # 2100 and waits for it), 15 s to take it in, and four hosts train the rest.
    left = 4 * (HOUR - 1800) - 3 * 600
    assert run.seconds == pytest.approx(2000 + 15 + 600 + 15 + left / 4)
    assert run.lost == pytest.approx(4 * 100)
    assert (run.losses, run.attempts) == (1, 1)


def test_one_loss_with_a_notice_loses_no_work() -> None:
    run = simulate(replace(PLAIN, checkpoint_s=5.0), DRAIN, ONE, 0)
    # Notice at 1880: trained since 100 but for two checkpoints (at 700 and 1305), 1770 s; 5 s to save, then
    # 15 s to recover. The new host starts at the loss, 2000, and is up at 2100: 5 s to save and 15 s to take
    # it in. Three hosts trained from 1900 to 2100, four train the rest with a checkpoint every 600 s.
    assert run.lost == 0.0
    left = (4 * HOUR - 4 * 1770 - 3 * 200) / 4
    assert left == pytest.approx(1680)
    assert run.seconds == pytest.approx(2100 + 5 + 15 + left + 2 * 5)
    assert run.losses == 1


def test_a_notice_that_is_too_short_for_a_checkpoint_is_none() -> None:
    slow = replace(PLAIN, checkpoint_s=130.0)
    assert simulate(slow, DRAIN, ONE, 0).lost > 0
    assert simulate(replace(slow, notice_s=131.0), DRAIN, ONE, 0).lost == 0
    # And a host that gives none is lost as any other.
    silent = replace(PLAIN, noticed=0.0)
    assert (
        simulate(silent, DRAIN, ONE, 0).lost == simulate(silent, ELASTIC, ONE, 0).lost == pytest.approx(400)
    )


def test_fewer_hosts_train_at_their_own_efficiency() -> None:
    run = simulate(replace(PLAIN, efficiency=0.9), ELASTIC, ONE, 0)
    left = 4 * (HOUR - 1800) - 3 * 0.9 * 600
    assert run.seconds == pytest.approx(2000 + 15 + 600 + 15 + left / 4)
    assert replace(PLAIN, efficiency=0.9).speed(2) == pytest.approx(2 * 0.81)


def test_below_min_hosts_it_waits_for_all() -> None:
    three_lost = Fixed([(0, 2000.0), (1, 2000.0), (2, 2001.0)])
    run = simulate(PLAIN, ELASTIC, three_lost, 0)
    # Two go on at 2000, one is left at 2001; all are up at 2101, and 60 s later the job is.
    assert run.seconds == pytest.approx(2101 + 60 + (HOUR - 1800))
    assert (run.losses, run.attempts) == (3, 2)


def test_a_host_lost_while_it_starts_is_paid_until_then_and_delays_the_start() -> None:
    run = simulate(PLAIN, RESTART, Fixed([(0, 40.0)]), 0)
    assert run.seconds == pytest.approx(140 + HOUR)
    assert run.host_seconds == pytest.approx(4 * run.seconds)
    assert (run.losses, run.attempts) == (0, 1)


def test_a_host_that_is_away_is_not_paid() -> None:
    class Away:
        def outages(self, _seed: int, hosts: int) -> Sequence[Iterator[Outage]]:
            return [iter([Outage(-50.0, 1000.0)] if host == 0 else []) for host in range(hosts)]

    run = simulate(PLAIN, RESTART, Away(), 0)
    assert run.seconds == pytest.approx(1000 + 100 + HOUR)
    assert run.host_seconds == pytest.approx(4 * run.seconds - 1000)


def test_a_job_that_saves_nothing_gives_up_and_one_without_checkpoints_is_cut() -> None:
    every_200_s = Fixed([(0, 200.0 * number) for number in range(1, 2000)])
    run = simulate(PLAIN, RESTART, every_200_s, 0)
    assert (run.finished, run.attempts) == (False, 10)
    assert "10 attempts in a row saved nothing" in run.gave_up
    outcome = compare(PLAIN, every_200_s, [0], [NO_CHECKPOINT])[NO_CHECKPOINT.name]
    assert not outcome.pairs[0].run.finished
    assert outcome.pairs[0].run.seconds == pytest.approx(PLAIN.limit * (100 + HOUR))
    assert (outcome.costs, outcome.times) == ([math.inf], [math.inf])
    assert outcome.as_json()["cost_over_on_demand"] == {"p5": None, "p50": None, "p95": None}


REAL = Assumptions(hours=16.0)


@pytest.fixture(scope="module")
def means() -> dict[float, dict[str, float]]:
    """Mean cost over on-demand, by rate and policy."""
    return {
        rate: {
            name: statistics.mean(outcome.costs)
            for name, outcome in compare(REAL, Poisson(rate), range(40), (RESTART, ELASTIC, DRAIN)).items()
        }
        for rate in (0.0, 0.05, 0.2, 0.5)
    }


def test_more_losses_are_never_cheaper(means: dict[float, dict[str, float]]) -> None:
    for fewer, more in itertools.pairwise(means.values()):
        assert all(fewer[name] <= more[name] for name in fewer)


def test_draining_is_never_dearer_than_elastic_nor_that_than_restarting(
    means: dict[float, dict[str, float]],
) -> None:
    for costs in means.values():
        assert costs[DRAIN.name] <= costs[ELASTIC.name] * 1.001 <= costs[RESTART.name] * 1.002


def test_no_policy_keeps_more_than_the_discount(means: dict[float, dict[str, float]]) -> None:
    assert all(cost >= REAL.price for costs in means.values() for cost in costs.values())


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_seed_decides_everything(policy: Policy) -> None:
    runs = [simulate(REAL, policy, Poisson(0.2), 7, limit_s=40 * HOUR) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != simulate(REAL, policy, Poisson(0.2), 8, limit_s=40 * HOUR)


@pytest.mark.parametrize("policy", [RESTART, ELASTIC, DRAIN], ids=lambda policy: policy.name)
def test_paid_time_is_work_and_waste(policy: Policy) -> None:
    """Nobody is paid for less than the work, nor for more than all hosts from begin to end."""
    for seed in range(20):
        run = simulate(REAL, policy, Poisson(0.5), seed)
        assert run.finished
        assert 16 * HOUR <= run.host_seconds <= 4 * run.seconds + 1e-6
        assert run.host_seconds >= 16 * HOUR + run.lost


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hours": 0.0}, "hours cannot be 0.0"),
        ({"min_hosts": 5}, "min_hosts cannot be 5"),
        ({"price": 0.0}, "price cannot be 0.0"),
        ({"price": math.nan}, "price cannot be nan"),
        ({"start_s": (9.0, 3.0)}, "start_s cannot be"),
        ({"cadence_s": 0.0}, "cadence_s cannot be 0.0; it must be seconds of training"),
        ({"noticed": 1.1}, "noticed cannot be 1.1"),
        ({"limit": 1.0}, "limit cannot be 1.0"),
        ({"checkpoint_s": math.inf}, "checkpoint_s cannot be inf"),
    ],
)
def test_impossible_assumptions_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Assumptions(**changes)


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.05, 0.5, 0.95)] == [5.0, 50.0, 95.0]
    assert quantile([3.0], 0.05) == 3.0
    assert quantile([1.0, math.inf], 0.95) == math.inf


def test_the_figures_name_what_they_rest_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "OUT", tmp_path)
    console = Console(record=True, width=200)
    traces = {"calm": Poisson(0.02), "busy": Poisson(2.0)}
    found = benchmark.measure(replace(PLAIN, limit=3.0), traces, seeds=3, console=console)
    told = " ".join(console.export_text().split())
    assert all(sentence in told for sentence in FIXED)
    assert all(f"{name} = " in told for name in MEANING)
    assert "calm: over on-demand, p5 p50 p95 of 3 runs" in told
    assert found["assumptions"]["price"] == 0.36
    assert set(found["traces"]["busy"]) == {policy.name for policy in POLICIES}
    assert json.loads(json.dumps(found, allow_nan=False))
    picture = ElementTree.parse(tmp_path / "spot_simulation.svg").getroot()
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"calm", "busy", "cost", "time", "no end", *(policy.name for policy in POLICIES)} <= set(texts)
    assert benchmark.OUT != harness.OUT
