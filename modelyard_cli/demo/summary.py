"""The end of the demo: what came out, how long it took, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table

from modelyard_cli.output import console


def show(result: dict[str, Any], kept: Path | None) -> None:
    """Print the summary of a demo that went through."""
    if not result["succeeded"]:
        return
    console.print(_metrics(result["metrics"]))
    console.print(_predictions(result["prediction"]))
    console.print(f"[bold]{result['total_seconds']:.1f} s[/bold] in all; figures in build/demo.json\n")
    console.print(Panel(_next_steps(result, kept), title="What to try next", title_align="left"))


def _metrics(metrics: dict[str, float]) -> Table:
    table = Table(title="Held-out rows", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in sorted(metrics.items()):
        table.add_row(name, f"{value:.4f}")
    return table


def _predictions(prediction: dict[str, Any]) -> Table:
    title = f"{prediction['model']} version {prediction['version']}, through the function URL"
    table = Table(title=title, title_justify="left")
    for name in ("predicted %", "true %", "difference"):
        table.add_column(name, justify="right")
    for guess, truth in zip(prediction["predictions"], prediction["true_values"], strict=True):
        table.add_row(f"[green]{guess:.2f}[/green]", f"{truth:.2f}", f"{guess - truth:+.2f}")
    return table


def _next_steps(result: dict[str, Any], kept: Path | None) -> str:
    if kept is None:
        return "KEEP=1 make demo     the same, and the cloud stays up for the commands below\nmake help"
    group = result["approval"]["group"]
    return "\n".join(
        [
            f'eval "$(.venv/bin/modelyard env --state {kept})"   point every AWS client at it',
            "aws sagemaker list-pipelines",
            f"aws sagemaker list-model-packages --model-package-group-name {group}",
            f"modelyard run {group} -p MseThreshold=1          the gate refuses",
            f"modelyard predict {group} build/data/refinance/batch.jsonl",
            f"modelyard reject {group}                         the deployer takes the model back",
            "cdk diff -c env=local                            nothing",
            f"modelyard down --state {kept}",
        ]
    )
