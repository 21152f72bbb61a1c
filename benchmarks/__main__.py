"""Run every benchmark, or those named: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import importlib
import json
import sys

from rich.console import Console

from benchmarks.harness import write

NAMES = (
    "synth",
    "check",
    "cloud",
    "empty_step",
    "distributed_xgboost",
    "pipeline_scale",
    "parallel_pipelines",
    "cached_rerun",
    "tuning",
    "serving",
)


def main() -> int:
    console = Console()
    chosen = sys.argv[1:] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        console.print(f"unknown benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
        return 2
    held = True
    for name in chosen:
        with console.status(f"measuring {name}"):
            figures = importlib.import_module(f"benchmarks.{name}").measure()
        held &= bool(figures["holds"])
        console.print(f"[bold]{name}[/bold] → {write(name, figures)}")
        console.print_json(json.dumps(figures))
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
