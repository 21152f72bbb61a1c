"""The end of a demo of one model: its figures in 80 columns, and commands that can be copied."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from modelyard_cli.demo import summary
from modelyard_cli.demo.commands import ROOT

STATE = ROOT / "build" / "demo-cloud"
INPUT = "s3://modelyard-local-data-databuckete6b0faa8-a1b388a3b7b04/raw/refinance/e663ee7cd285/loans.csv"
# As `make demo` wrote them down, less what the summary does not read.
MODEL: dict[str, Any] = {
    "parameters": {"InputData": INPUT},
    "metrics": {
        "mse": 15.182490442284205,
        "rmse": 3.896471537466199,
        "mae": 2.926829091772179,
        "r2": 0.4059726295285674,
        "metric": "mse",
        "value": 15.182490442284205,
        "baseline": 25.589602555978505,
        "threshold": 20.0,
    },
    "approval": {"group": "refinance-interest-rate", "version": 1},
    "prediction": {
        "model": "refinance-interest-rate",
        "version": 1,
        "predictions": [14.27866268157959, 17.163692474365234],
        "true_values": [15.05, 16.02],
        "images": [],
    },
}
RESULT = {
    "succeeded": True,
    "total_seconds": 44.0371,
    **MODEL,
    "models": {"refinance-interest-rate": MODEL},
}
MODELYARD = [".venv/bin/modelyard"]
DOWN = [*MODELYARD, "down", "--state", "build/demo-cloud"]


def shown(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], kept: Path | None, width: int = 80) -> str:
    screen = io.StringIO()
    monkeypatch.setattr(summary, "console", Console(file=screen, width=width))
    summary.show(result, kept)
    return screen.getvalue()


def next_steps(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[lines.index("What to try next") + 1 :]


def commands(text: str) -> list[list[str]]:
    """The commands as a shell would split them."""
    return [words for line in next_steps(text) if (words := shlex.split(line, comments=True))]


def test_the_figures_of_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, RESULT, None)

    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    assert ["MSE", "15.182", "25.590", "≤ 20.000"] in cells
    assert ["RMSE", "3.896", "5.059", ""] in cells
    assert ["R²", "0.406", "", ""] in cells
    assert ["14.28", "15.05", "-0.77"] in cells
    assert ["17.16", "16.02", "+1.14"] in cells
    assert "44.0 s in all; figures in build/demo.json" in text
    assert "refinance-interest-rate version 1," in text
    assert "…" not in text


def test_without_a_cloud_the_next_step_is_to_keep_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_steps(shown(monkeypatch, RESULT, None)) == [
        "# the same, and the cloud stays up to try commands on",
        "KEEP=1 make demo",
        "make help",
    ]


def test_the_demo_that_is_kept_is_the_one_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_job", lambda _: "the job")
    monkeypatch.setattr(summary, "_models", lambda _: "the models")
    hosts = {name: value for name, value in RESULT.items() if name != "models"} | {"job": {}}
    every = RESULT | {"models": {"one": MODEL, "other": MODEL}}

    assert commands(shown(monkeypatch, hosts, None))[0] == ["KEEP=1", "TRAIN=1", "make", "demo"]
    assert commands(shown(monkeypatch, every, None))[0] == ["KEEP=1", "ALL=1", "make", "demo"]


@pytest.mark.parametrize("width", [40, 80, 250])
def test_each_command_is_one_whole_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    group = "refinance-interest-rate"

    assert commands(shown(monkeypatch, RESULT, STATE, width)) == [
        ["eval", "$(.venv/bin/modelyard env --state build/demo-cloud)"],
        [".venv/bin/aws", "sagemaker", "list-pipelines"],
        [".venv/bin/aws", "sagemaker", "list-model-packages", "--model-package-group-name", group],
        [*MODELYARD, "run", group, "-p", f"InputData={INPUT}", "-p", "MseThreshold=1.5"],
        [*MODELYARD, "predict", group, "build/data/refinance/interest_rate/batch.jsonl"],
        [*MODELYARD, "reject", group],
        ["make", "diff", "ENV=local"],
        DOWN,
    ]


def test_notes_are_comments_above_their_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = next_steps(shown(monkeypatch, RESULT, STATE, 40))

    notes = {line: lines[number + 1] for number, line in enumerate(lines) if line.startswith("#")}
    assert notes["# the gate refuses"].endswith("-p MseThreshold=1.5")
    assert notes["# the deployer takes the model back"].endswith("reject refinance-interest-rate")
    assert notes["# no difference"] == "make diff ENV=local"
    assert len(notes) == 4


def test_a_model_of_images_has_a_command_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    image = ROOT / "build" / "data" / "digits" / "batch" / "D0006.png"
    digits = {
        "metrics": {"metric": "top1", "value": 0.96, "baseline": 0.07, "threshold": 0.9},
        "prediction": {
            "predictions": [{"label": "9", "probabilities": {"9": 0.87}}],
            "true_values": ["5"],
            "images": [str(image)],
        },
    }
    result = RESULT | {"models": {"refinance-interest-rate": MODEL, "digits": digits}}

    ran = commands(shown(monkeypatch, result, STATE, 40))

    assert [*MODELYARD, "predict", "digits", "build/data/digits/batch/D0006.png"] in ran
    assert ran[-1] == DOWN


def test_a_failed_demo_has_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, {"succeeded": False}, None) == ""
