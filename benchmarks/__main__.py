"""Run every benchmark, or those named: `python -m benchmarks [NAME ...] [--minutes N]`, N of the soak.

Ends with 0 when all bounds hold, with 1 when one does not, and with 3 when those that could be measured do
and this machine lacks what another one needs.
"""

from __future__ import annotations

import argparse
import importlib
import json

from rich.console import Console

from benchmarks.harness import UnmeasurableError, write

LACKING = 3
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
    "time_to_accuracy",
    "gpu_step",
    "recovery",
    "soak",
)


def main() -> int:
    console = Console()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    options = parser.parse_args()
    chosen = options.names or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        console.print(f"unknown benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
        return 2
    held, lacking = True, False
    for name in chosen:
        with console.status(f"measuring {name}"):
            settings = {"minutes": options.minutes} if name == "soak" else {}
            module = importlib.import_module(f"benchmarks.{name}")
            try:
                figures = module.measure(**settings)
            except UnmeasurableError as error:
                lacking = True
                console.print(f"[bold]{name}[/bold]: not measured: {error}", soft_wrap=True, highlight=False)
                continue
        held &= bool(figures["holds"])
        path = write(name, figures)
        console.print(f"[bold]{name}[/bold] → {path}")
        if hasattr(module, "draw"):  # a picture, of these figures
            console.print(f"[bold]{name}[/bold] → {module.draw(path)}")
        console.print_json(json.dumps(figures))
    if not held:
        return 1
    return LACKING if lacking else 0


if __name__ == "__main__":
    raise SystemExit(main())
