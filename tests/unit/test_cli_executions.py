"""What `modelyard run` makes of the API's answers."""

import io
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from modelyard_cli.errors import CliError
from modelyard_cli.executions import Execution, Step, declared_steps, observe, parse_parameters
from modelyard_cli.pipelines import show

START = datetime(2026, 1, 1, tzinfo=UTC)


class Service:
    """Answers as the API does: steps newest first, two pages."""

    def __init__(self, status: str, pages: list[list[dict[str, Any]]]) -> None:
        self.status, self.pages = status, pages

    def describe_pipeline_execution(self, **_: str) -> dict[str, Any]:
        return {
            "PipelineExecutionStatus": self.status,
            "CreationTime": START,
            "LastModifiedTime": START + timedelta(seconds=9),
        }

    def list_pipeline_execution_steps(self, NextToken: str = "0", **_: object) -> dict[str, Any]:
        number = int(NextToken)
        answer: dict[str, Any] = {"PipelineExecutionSteps": self.pages[number]}
        if number + 1 < len(self.pages):
            answer["NextToken"] = str(number + 1)
        return answer


def test_steps_keep_the_declared_order_and_unstarted_ones_are_skipped_at_the_end() -> None:
    trained = {
        "StepName": "Train",
        "StepStatus": "Failed",
        "StartTime": START,
        "EndTime": START + timedelta(seconds=4),
        "FailureReason": "AlgorithmError",
    }
    prepared = {
        "StepName": "Prepare",
        "StepStatus": "Succeeded",
        "StartTime": START,
        "EndTime": START + timedelta(seconds=2),
    }
    service = Service("Failed", [[trained], [prepared]])

    seen = observe(service, "arn", [("Prepare", "Processing"), ("Train", "Training"), ("Register", "Model")])

    assert [(step.name, step.status, step.seconds) for step in seen.steps] == [
        ("Prepare", "Succeeded", 2.0),
        ("Train", "Failed", 4.0),
        ("Register", "Skipped", 0.0),
    ]
    assert seen.seconds == 9.0
    assert seen.steps[1].detail == "AlgorithmError"


def test_unstarted_steps_wait_while_the_execution_runs() -> None:
    seen = observe(Service("Executing", [[]]), "arn", [("Prepare", "Processing")])

    assert seen.steps[0].status == "Waiting"


def test_branches_follow_their_condition() -> None:
    definition = {
        "Steps": [
            {"Name": "Evaluate", "Type": "Processing", "Arguments": {}},
            {
                "Name": "Gate",
                "Type": "Condition",
                "Arguments": {
                    "IfSteps": [{"Name": "Register", "Type": "RegisterModel"}],
                    "ElseSteps": [{"Name": "Fail", "Type": "Fail"}],
                },
            },
        ]
    }

    steps = declared_steps(json.dumps(definition))
    assert [name for name, _ in steps] == ["Evaluate", "Gate", "Register", "Fail"]


@pytest.mark.parametrize("wrong", [["MseThreshold"], ["=5"], ["A=1", "A=2"]])
def test_wrong_parameters_are_refused(wrong: list[str]) -> None:
    with pytest.raises(CliError):
        parse_parameters(wrong)


def test_values_may_contain_equals_signs() -> None:
    assert parse_parameters(["Uri=s3://b/k=v"]) == [{"Name": "Uri", "Value": "s3://b/k=v"}]


def states() -> list[Execution]:
    """A training that fails: how it was seen three times."""
    prepared = Step(name="Prepare", type="Processing", status="Succeeded", seconds=2.0, detail="from cache")
    seen = (
        ("Executing", None, Step(name="Train", type="Training")),
        ("Executing", None, Step(name="Train", type="Training", status="Executing", seconds=1.0)),
        (
            "Failed",
            "Step failure: One.",
            Step(name="Train", type="Training", status="Failed", detail="[/no] rows"),
        ),
    )
    register = Step(name="Register", type="RegisterModel", status="Skipped")
    return [
        Execution(arn="a", status=status, failure_reason=why, seconds=3.0, steps=(prepared, train, register))
        for status, why, train in seen
    ]


def test_without_a_terminal_each_change_and_the_end_is_a_line() -> None:
    to = Console(file=io.StringIO(), width=100)
    assert show(states(), "credit", to).status == "Failed"
    assert to.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "   3.0 s  Prepare: Succeeded from cache",
        "   3.0 s  Train: Executing",
        "   3.0 s  Train: Failed [/no] rows",
        "   3.0 s  Failed Step failure: One.",
    ]


def test_in_a_terminal_the_table_is_drawn_over_itself() -> None:
    drawn = io.StringIO()

    def as_drawn() -> Iterator[Execution]:
        for number, state in enumerate(states()):
            yield state
            deadline = time.monotonic() + 60
            while number < 2 and drawn.getvalue().count("credit") <= number:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    show(
        as_drawn(), "credit", Console(file=drawn, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    )

    # Each state goes over the one before it: up by its lines, which are deleted.
    first, *others = drawn.getvalue().split("credit")
    assert len(others) >= 3
    assert "\x1b[1A\x1b[2K" not in first
    assert all("\x1b[1A\x1b[2K" in before for before in others[:-1])
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", others[-1])
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in last.splitlines() if "│" in line]
    assert cells == [
        ["Prepare", "Processing", "Succeeded", "2.0", "from cache"],
        ["Train", "Training", "Failed", "", "[/no] rows"],
    ]
    assert last.splitlines()[-1].split() == ["Failed", "3.0", "s", "Step", "failure:", "One."]
