"""Several executions on one screen, and the summary of many models in 80 columns."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from modelyard_cli.demo import summary
from modelyard_cli.demo.parallel import picture, together
from modelyard_cli.executions import Execution, Step


def state(status, *steps):
    return Execution(
        arn="arn",
        status=status,
        failure_reason=None,
        seconds=1.0,
        steps=tuple(Step(name=name, type="Processing", status=now) for name, now in steps),
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_all_are_watched_until_the_last_has_ended(terminal):
    watched = {
        "short": iter([state("Succeeded", ("A", "Succeeded"))]),
        "long": iter(
            [
                state("Executing", ("A", "Executing")),
                state("Executing", ("A", "Succeeded"), ("B", "Executing")),
                state("Failed", ("A", "Succeeded"), ("B", "Failed")),
            ]
        ),
    }
    screen = io.StringIO()
    ended = together(watched, Console(file=screen, force_terminal=terminal, width=80), 0.0)
    assert {name: final.status for name, final in ended.items()} == {"short": "Succeeded", "long": "Failed"}
    assert "Failed" in screen.getvalue()
    if not terminal:
        lines = [line.split("s  ")[1] for line in screen.getvalue().splitlines() if "s  " in line]
        assert lines == ["short: Succeeded", "long: A", "long: B", "long: Failed"]


def test_a_line_says_what_runs_now():
    screen = io.StringIO()
    Console(file=screen, width=80).print(
        picture({"p": state("Executing", ("A", "Succeeded"), ("B", "Executing"), ("C", "Executing"))})
    )
    assert "B, C" in screen.getvalue()


def test_all_models_fit_a_terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(summary, "console", Console(file=screen, width=80))
    model = {
        "metrics": {"metric": "mse", "value": 57786000.0, "baseline": 104680000.0, "threshold": 8e7},
        "prediction": {"predictions": [16512.25], "true_values": [40000.0], "version": 1},
    }
    answer = {"label": "malignant", "probabilities": {"benign": 0.01, "malignant": 0.99}}
    classifier = {
        "metrics": {"metric": "auc", "value": 0.9931, "baseline": 0.5, "threshold": 0.95},
        "prediction": {"predictions": [answer], "true_values": ["benign"], "version": 1},
    }
    answer = {"label": "approved", "probabilities": {"approved": 0.9, "rejected": 0.1}}
    mortgages = {
        "metrics": {"metric": "auc", "value": 0.754, "baseline": 0.5, "threshold": 0.62},
        "prediction": {"predictions": [answer], "true_values": ["approved"], "version": 1},
    }
    names = (
        "refinance-interest-rate",
        "refinance-loan-amount",
        "purchase-interest-rate",
        "purchase-loan-amount",
    )
    result = {
        "succeeded": True,
        "total_seconds": 60.0,
        "models": json.loads(json.dumps(dict.fromkeys(names, model)))
        | {"breast-cancer": classifier, "mortgage-approval": mortgages},
    }
    summary.show(result, None)
    lines = screen.getvalue().splitlines()
    assert not [line for line in lines if "…" in line]
    for name in names:
        (line,) = [line for line in lines if name in line]
        for number in ("5.78e7", "1.05e8", "8e7", "MSE", "16,512", "40,000"):
            assert number in line
    (line,) = [line for line in lines if "breast-cancer" in line]
    for word in ("AUC", "0.993", "0.5", "0.95", "malignant", "benign"):
        assert word in line
