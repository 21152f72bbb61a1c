"""The end of the demo: what came out, how long it took, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from modelyard_cli.demo.commands import ROOT
from modelyard_cli.output import console


def show(result: dict[str, Any], kept: Path | None) -> None:
    """Print the summary of a demo that went through."""
    if not result["succeeded"]:
        return
    if "job" in result:
        console.print(_job(result))
    elif len(result["models"]) > 1:
        console.print(_models(result["models"]))
    else:
        console.print(_metrics(result["metrics"]))
        console.print(_predictions(result["prediction"]))
    console.print(f"[bold]{result['total_seconds']:.1f} s[/bold] in all; figures in build/demo.json\n")
    console.print("[bold]What to try next[/bold]")
    for command, note in _next_steps(result, kept):
        # Whole lines without a frame, whatever the terminal's width: they are there to be copied.
        if note:
            console.print(Text(f"# {note}", style="dim"), soft_wrap=True)
        console.print(Text(command), soft_wrap=True)


def _job(result: dict[str, Any]) -> Table:
    job, figures, answer = result["job"], result["metrics"], result["prediction"]
    table = Table(title="One job on two hosts, of which one was lost", title_justify="left")
    for name in ("job", "attempts", "hosts, one after the other", "step", "USD"):
        table.add_column(name)
    worlds = " → ".join(str(world["hosts"]) for world in job["worlds"])
    table.add_row(job["job"], str(job["attempt"]), worlds, str(job["step"]), f"{job['cost']:.4f}")
    predicted = " ".join(_amount(value) for value in answer["predictions"])
    true = " ".join(map(str, answer["true_values"]))
    measured = ", ".join(f"{name} {value}" for name, value in figures.items() if "top" in name)
    table.caption = f"best model, version {answer['version']}: {measured}; {true} are taken for {predicted}"
    return table


def _models(models: dict[str, dict[str, Any]]) -> Table:
    title = "Held-out rows, what the gates compared, and a prediction each"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)  # 80 columns
    table.add_column("model", no_wrap=True)
    for name in ("metric", "model", "baseline", "limit", "predicts", "true"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, model in models.items():
        measured, answer = model["metrics"], model["prediction"]
        table.add_row(
            name,
            measured["metric"].upper(),
            f"[green]{_short(measured['value'])}[/green]",
            _short(measured["baseline"]),
            _short(measured["threshold"]),
            f"[green]{_amount(answer['predictions'][0])}[/green]",
            _amount(answer["true_values"][0]),
        )
    return table


def _short(number: float) -> str:
    """Three digits, and no more of an exponent than it takes: all columns fit a terminal.

    >>> _short(57786000.0), _short(0.754)
    ('5.78e7', '0.754')
    """
    return f"{number:.3g}".replace("e+0", "e")


def _amount(value: Any) -> str:
    if isinstance(value, dict):
        return str(value["label"])
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table(title="Held-out rows, and what the gate compared", title_justify="left")
    table.add_column("metric")
    for name in ("model", "constant baseline", "threshold"):
        table.add_column(name, justify="right")
    table.add_row(
        "MSE",
        f"[green]{metrics['mse']:.3f}[/green]",
        f"{metrics['baseline']:.3f}",
        f"≤ {metrics['threshold']:.3f}",
    )
    table.add_row("RMSE", f"{metrics['rmse']:.3f}", f"{metrics['baseline'] ** 0.5:.3f}", "")
    table.add_row("R²", f"{metrics['r2']:.3f}", "", "")
    return table


def _predictions(prediction: dict[str, Any]) -> Table:
    title = f"{prediction['model']} version {prediction['version']}, through the function URL"
    table = Table(title=title, title_justify="left")
    for name in ("predicted %", "true %", "difference"):
        table.add_column(name, justify="right")
    for guess, truth in zip(prediction["predictions"], prediction["true_values"], strict=True):
        table.add_row(f"[green]{guess:.2f}[/green]", f"{truth:.2f}", f"{guess - truth:+.2f}")
    return table


def _next_steps(result: dict[str, Any], kept: Path | None) -> list[tuple[str, str]]:
    """Commands, each with a note or an empty text."""
    if kept is None:
        kind = "TRAIN=1 " if "job" in result else "ALL=1 " if len(result["models"]) > 1 else ""
        return [
            (f"KEEP=1 {kind}make demo", "the same, and the cloud stays up to try commands on"),
            ("make help", ""),
        ]
    group, bin_, state = result["approval"]["group"], ".venv/bin", kept.relative_to(ROOT)
    if "job" in result:
        image = Path(result["prediction"]["images"][0]).relative_to(ROOT)
        return [
            (f'eval "$({bin_}/modelyard env --state {state})"', "every AWS client of this shell talks to it"),
            ("export MODELYARD_ENV=local-training", ""),
            (f"{bin_}/modelyard train list", ""),
            (f"{bin_}/modelyard models", ""),
            (f"{bin_}/modelyard predict {group} {image}", ""),
            (f"{bin_}/modelyard down --state {state}", ""),
        ]
    data = result["parameters"]["InputData"]
    return [
        (f'eval "$({bin_}/modelyard env --state {state})"', "every AWS client of this shell talks to it"),
        (f"{bin_}/aws sagemaker list-pipelines", ""),
        (f"{bin_}/aws sagemaker list-model-packages --model-package-group-name {group}", ""),
        (f"{bin_}/modelyard run {group} -p InputData={data} -p MseThreshold=1.5", "the gate refuses"),
        (f"{bin_}/modelyard predict {group} build/data/refinance/interest_rate/batch.jsonl", ""),
        *(
            (
                f"{bin_}/modelyard predict {name} {Path(model['prediction']['images'][0]).relative_to(ROOT)}",
                "",
            )
            for name, model in result["models"].items()
            if model["prediction"]["images"]
        ),
        (f"{bin_}/modelyard reject {group}", "the deployer takes the model back"),
        ("make diff ENV=local", "no difference"),
        (f"{bin_}/modelyard down --state {state}", ""),
    ]
