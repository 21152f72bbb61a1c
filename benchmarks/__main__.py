"""Run every benchmark, or those named: `python -m benchmarks [NAME ...] [--minutes N]`, N of the soak."""

from __future__ import annotations

import argparse
import importlib
import json

from rich.console import Console

from benchmarks.harness import write

NAMES = (
    "synth",
    "check",
    "definitions",
    "demo",
    "cloud",
    "empty_step",
    "distributed_xgboost",
    "critical_path",
    "pipeline_scale",
    "parallel_pipelines",
    "cached_rerun",
    "tuning",
    "serving",
    "model_cache",
    "model_eviction",
    "micro_batching",
    "lambda_overhead",
    "image_path",
    "image_scale",
    "table_scale",
    "spot_simulation",
    "telemetry",
    "decode",
    "input_path",
    "preprocessing_scale",
    "training_step",
    "recovery",
    "soak",
)


def main() -> int:
    console = Console()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    options = parser.parse_args()
    chosen = options.names or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        console.print(f"unknown benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
        return 2
    held = True
    for name in chosen:
        with console.status(f"measuring {name}"):
            settings = {"minutes": options.minutes} if name == "soak" else {}
            module = importlib.import_module(f"benchmarks.{name}")
            figures = module.measure(**settings)
        held &= bool(figures["holds"])
        path = write(name, figures)
        console.print(f"[bold]{name}[/bold] → {path}")
        if hasattr(module, "draw"):  # a picture, of these figures
            console.print(f"[bold]{name}[/bold] → {module.draw(path)}")
        console.print_json(json.dumps(figures))
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
