"""What a pipeline execution is doing now, from the public API: steps in declared order, with times."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard_cli.errors import CliError

ENDED = {"Succeeded", "Failed", "Stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an execution; `status` is "Waiting" until the service lists it."""

    name: str
    type: str
    status: str = "Waiting"
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution at one moment; `seconds` is its wall time so far."""

    arn: str
    status: str
    failure_reason: str | None
    seconds: float
    steps: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "execution_arn": self.arn,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "seconds": round(self.seconds, 3),
            "steps": [
                {
                    "name": step.name,
                    "type": step.type,
                    "status": step.status,
                    "seconds": round(step.seconds, 3),
                    "detail": step.detail,
                }
                for step in self.steps
            ],
        }


def parse_parameters(assignments: list[str]) -> list[dict[str, str]]:
    """`["MseThreshold=20"]` as the API takes it.

    Raises:
        CliError: an assignment without "=", or a name given twice.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise CliError(f"parameter {assignment!r}: expected NAME=VALUE")
        if name in values:
            raise CliError(f"parameter {name} is given twice")
        values[name] = value
    return [{"Name": name, "Value": value} for name, value in values.items()]


def start(sagemaker: Any, pipeline: str, parameters: list[dict[str, str]]) -> str:
    """Start an execution; returns its ARN."""
    answer = sagemaker.start_pipeline_execution(PipelineName=pipeline, PipelineParameters=parameters)
    return str(answer["PipelineExecutionArn"])


def watch(
    sagemaker: Any, arn: str, every_s: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[Execution]:
    """The execution again and again until it has ended; the last one yielded is the ended one."""
    declared = declared_steps(definition_of(sagemaker, arn))
    while True:
        execution = observe(sagemaker, arn, declared)
        yield execution
        if execution.status in ENDED:
            return
        pause(every_s)


def definition_of(sagemaker: Any, arn: str) -> str:
    """The definition that an execution started with, as JSON text."""
    answer = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    return str(answer["PipelineDefinition"])


def declared_steps(definition: str) -> list[tuple[str, str]]:
    """(name, type) of every step of a definition's text, branches of conditions after their condition."""
    found: list[tuple[str, str]] = []

    def visit(steps: list[dict[str, Any]]) -> None:
        for step in steps:
            found.append((step["Name"], step["Type"]))
            if step["Type"] == "Condition":
                visit(step["Arguments"].get("IfSteps", []))
                visit(step["Arguments"].get("ElseSteps", []))

    visit(json.loads(definition)["Steps"])
    return found


def observe(sagemaker: Any, arn: str, declared: list[tuple[str, str]]) -> Execution:
    """One look at the execution and its steps."""
    now = datetime.now(UTC)
    # Before its steps: those of an execution seen as ended have all ended, too.
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    listed: dict[str, dict[str, Any]] = {}
    token: dict[str, str] = {}
    while True:
        page = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100, **token)
        listed |= {step["StepName"]: step for step in page["PipelineExecutionSteps"]}
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    status = described["PipelineExecutionStatus"]
    end = described["LastModifiedTime"] if status in ENDED else now
    return Execution(
        arn=arn,
        status=status,
        failure_reason=described.get("FailureReason"),
        seconds=max(0.0, (end - described["CreationTime"]).total_seconds()),
        steps=tuple(
            _step(name, kind, listed[name], now)
            if name in listed
            else Step(name=name, type=kind, status="Skipped" if status in ENDED else "Waiting")
            for name, kind in declared
        ),
    )


def _step(name: str, kind: str, listed: dict[str, Any], now: datetime) -> Step:
    started = listed.get("StartTime", now)
    return Step(
        name=name,
        type=kind,
        status=listed["StepStatus"],
        seconds=max(0.0, (listed.get("EndTime", now) - started).total_seconds()),
        detail=_detail(listed),
    )


def _detail(listed: dict[str, Any]) -> str:
    if reason := listed.get("FailureReason"):
        return str(reason)
    if "CacheHitResult" in listed:
        return "from cache"
    metadata = listed.get("Metadata", {})
    if outcome := metadata.get("Condition", {}).get("Outcome"):
        return f"condition is {str(outcome).lower()}"
    return str(metadata.get("Fail", {}).get("ErrorMessage", ""))
