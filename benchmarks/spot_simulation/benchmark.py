"""The figures: rates of losses, or a trace, and all policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks.harness import OUT
from benchmarks.spot_simulation.assumptions import FIXED, Assumptions
from benchmarks.spot_simulation.chart import as_svg
from benchmarks.spot_simulation.gang import DRAIN
from benchmarks.spot_simulation.report import assumed, results
from benchmarks.spot_simulation.study import compare, figures, quantile
from benchmarks.spot_simulation.traces import Poisson, Trace

RATES = (0.02, 0.1, 0.3)
SEEDS = 200
# What Spot capacity is often said to save; with these prices it could save 64 %.
SAVING = 0.6


def generated(rates: tuple[float, ...] = RATES) -> dict[str, Trace]:
    """Traces by chance, by name."""
    return {f"{rate:g} losses per node-hour": Poisson(rate) for rate in rates}


def measure(
    assumptions: Assumptions | None = None,
    traces: Mapping[str, Trace] | None = None,
    seeds: int = SEEDS,
    console: Console | None = None,
) -> dict[str, Any]:
    """Simulate, show tables and write `build/bench/spot_simulation.svg`.

    Args:
        assumptions: Those of `Assumptions()` unless given.
        traces: By name; `generated()` unless given.
        seeds: Runs of each policy under each trace.
        console: Where the tables go.

    Returns:
        The figures; `holds`: with drain the median saving is `SAVING` or more under every trace.
    """
    assumptions, console = assumptions or Assumptions(), console or Console()
    outcomes = {
        name: compare(assumptions, trace, range(seeds)) for name, trace in (traces or generated()).items()
    }
    for name, found in outcomes.items():
        console.print(results(name, found))
    console.print("Assumed:", *assumed(assumptions), sep="\n  ", highlight=False)
    OUT.mkdir(parents=True, exist_ok=True)
    chart = OUT / "spot_simulation.svg"
    title = f"{assumptions.hours:g} node-hours on {assumptions.hosts} Spot hosts, over on-demand"
    chart.write_text(as_svg(title, outcomes, assumptions.price), encoding="utf-8")
    savings = {
        name: {
            f"p{100 * share:.0f}": round(quantile([1 - cost for cost in found[DRAIN.name].costs], share), 4)
            for share in (0.05, 0.5)
        }
        for name, found in outcomes.items()
    }
    return {
        "seeds": seeds,
        "assumptions": {**assumptions.values(), "also": list(FIXED)},
        "traces": {name: figures(found) for name, found in outcomes.items()},
        "saving_with_drain": {**savings, "bound": SAVING},
        "chart": chart.name,
        "holds": all(saving["p50"] >= SAVING for saving in savings.values()),
    }
