"""Many runs of each policy against on-demand hosts, as quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.spot_simulation.assumptions import Assumptions
from benchmarks.spot_simulation.gang import NO_CHECKPOINT, POLICIES, Policy, Run, simulate
from benchmarks.spot_simulation.traces import Quiet, Trace

QUANTILES = (0.05, 0.5, 0.95)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A run on Spot hosts, and the job with the same seed on hosts that are never lost."""

    run: Run
    on_demand: Run

    def cost(self, price: float) -> float:
        """Over on-demand; infinite for a job that did not finish: no money was enough."""
        if not self.run.finished:
            return math.inf
        return price * (self.run.host_seconds / self.on_demand.host_seconds)

    @property
    def time(self) -> float:
        """Over on-demand; infinite as the cost is."""
        return self.run.seconds / self.on_demand.seconds if self.run.finished else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All runs of a policy under one trace."""

    policy: Policy
    pairs: tuple[Pair, ...]
    assumptions: Assumptions

    @property
    def costs(self) -> list[float]:
        return [pair.cost(self.assumptions.price) for pair in self.pairs]

    @property
    def times(self) -> list[float]:
        return [pair.time for pair in self.pairs]

    @property
    def kept(self) -> list[float]:
        """Share of the price discount that each run kept; all of them 1 where there is no discount."""
        price = self.assumptions.price
        return [(1 - cost) / (1 - price) if price < 1 else 1.0 for cost in self.costs]

    def as_json(self) -> dict[str, Any]:
        runs = [pair.run for pair in self.pairs]
        work = self.assumptions.hours * 3600
        done = [work / run.host_seconds for run in runs if run.finished]
        return {
            "cost_over_on_demand": _spread(self.costs),
            "time_over_on_demand": _spread(self.times),
            "share_of_discount_kept": _spread(self.kept),
            "not_finished": round(sum(not run.finished for run in runs) / len(runs), 4),
            "gave_up": round(sum(bool(run.gave_up) for run in runs) / len(runs), 4),
            "useful_share_of_paid_time": _rounded(sum(done) / len(done)) if done else None,
            "lost_node_hours": _rounded(sum(run.lost for run in runs) / len(runs) / 3600),
            "losses": _rounded(sum(run.losses for run in runs) / len(runs)),
            "attempts": _rounded(sum(run.attempts for run in runs) / len(runs)),
        }


def compare(
    assumptions: Assumptions, trace: Trace, seeds: Sequence[int], policies: Sequence[Policy] = POLICIES
) -> dict[str, Outcome]:
    """Run every policy once for each seed.

    Args:
        assumptions: Of all runs.
        trace: When hosts are lost; for one seed the same for all policies.
        seeds: One run each.
        policies: By name in the result, in this order.
    """
    references = [simulate(assumptions, NO_CHECKPOINT, Quiet(), seed) for seed in seeds]
    outcomes = {}
    for policy in policies:
        pairs = tuple(
            Pair(
                run=simulate(assumptions, policy, trace, seed, limit_s=assumptions.limit * reference.seconds),
                on_demand=reference,
            )
            for seed, reference in zip(seeds, references, strict=True)
        )
        outcomes[policy.name] = Outcome(policy=policy, pairs=pairs, assumptions=assumptions)
    return outcomes


def figures(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """By policy, for JSON."""
    return {name: outcome.as_json() for name, outcome in outcomes.items()}


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {f"p{100 * share:.0f}": _rounded(quantile(values, share)) for share in QUANTILES}


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 4)
