"""Results in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.spot_simulation.assumptions import FIXED, MEANING, Assumptions
from benchmarks.spot_simulation.study import QUANTILES, Outcome, quantile


def results(name: str, outcomes: Mapping[str, Outcome]) -> Table:
    """Cost and time of each policy under one trace, over on-demand."""
    runs = max((len(outcome.pairs) for outcome in outcomes.values()), default=0)
    table = Table(
        title=f"{name}: over on-demand, p5 p50 p95 of {runs} runs", title_justify="left", box=SIMPLE_HEAD
    )
    table.caption = "kept: of the price discount; ∞: runs without an end; lost: node-hours of work done twice"
    table.caption_justify = "left"
    table.pad_edge, table.collapse_padding = False, True
    table.add_column("policy")
    for column in ("cost", "time", "kept %", "∞ %", "lost h"):
        table.add_column(column, justify="right", no_wrap=True)
    for policy, outcome in outcomes.items():
        found = outcome.as_json()
        table.add_row(
            policy,
            _spread(outcome.costs, "{:.2f}"),
            _spread(outcome.times, "{:.2f}"),
            _spread([100 * kept for kept in outcome.kept], "{:.0f}"),
            f"{100 * found['not_finished']:.0f}",
            f"{found['lost_node_hours']:.2f}",
        )
    return table


def assumed(assumptions: Assumptions) -> Iterator[str]:
    """What the results rest on, a line each."""
    for name, value in assumptions.values().items():
        told = " to ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"
        yield f"{name} = {told}: {MEANING[name]}"
    yield from FIXED


def _spread(values: Sequence[float], form: str) -> str:
    found = (quantile(values, share) for share in QUANTILES)
    return " ".join(
        form.format(value) if math.isfinite(value) else f"{'-' * (value < 0)}∞" for value in found
    )
