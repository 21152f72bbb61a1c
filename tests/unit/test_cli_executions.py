"""What `modelyard run` makes of the API's answers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard_cli.errors import CliError
from modelyard_cli.executions import declared_steps, observe, parse_parameters

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
