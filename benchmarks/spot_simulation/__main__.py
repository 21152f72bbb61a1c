"""What a job costs on Spot hosts, and how long it takes, against on-demand.

Losses come by chance (--rates), or from a CSV file (--trace) with the columns time_s,node,event; event is
`lost` or `available`. Writes build/bench/spot_simulation.json and .svg.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.harness import write
from benchmarks.spot_simulation.assumptions import MEANING, Assumptions
from benchmarks.spot_simulation.benchmark import RATES, SEEDS, generated, measure
from benchmarks.spot_simulation.traces import Trace, TraceError, read_trace


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    given = {name: getattr(options, name) for name in MEANING}
    try:
        assumptions = Assumptions(**{**given, "start_s": tuple(given["start_s"])})
        traces: dict[str, Trace] = {}
        if options.trace:
            recorded = read_trace(options.trace)
            recorded.outages(0, assumptions.hosts)
            traces[f"{options.trace.name}, {recorded.rate:.2g} losses per node-hour"] = recorded
        else:
            traces = generated(tuple(options.rates))
        if options.seeds < 1:
            raise ValueError(f"--seeds is {options.seeds}; give 1 or more")
    except (ValueError, TraceError) as error:
        parser.error(str(error))
    console = Console()
    found = measure(assumptions, traces, options.seeds, console)
    path = write("spot_simulation", found)
    console.print(f"{path}\n{path.with_suffix('.svg')}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.spot_simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    losses = parser.add_mutually_exclusive_group()
    losses.add_argument("--trace", type=Path, metavar="FILE", help="losses from a CSV file")
    losses.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=list(RATES),
        metavar="R",
        help="losses per node-hour (0.02 0.1 0.3)",
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="runs of each policy (200)")
    defaults = Assumptions()
    for name, meaning in MEANING.items():
        default = getattr(defaults, name)
        told = " ".join(f"{value:g}" for value in default) if name == "start_s" else f"{default:g}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int if isinstance(default, int) else float,
            nargs=2 if name == "start_s" else None,
            default=default,
            metavar=("LOW", "HIGH") if name == "start_s" else "X",
            help=f"{meaning} ({told})",
        )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
