"""State machines.

https://states-language.net/spec.html
https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from localcloud.sagemaker.shapes import input_shape
from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Template, listed, number, objects
from modelyard_cli.check.templates.states import (
    MACHINE,
    definition_of,
    machines,
    scopes,
    states_of,
    successors,
)

_TYPES = {"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"}
INTEGRATION = re.compile(
    r"arn:[^:]*:states:[^:]*:[^:]*:(?P<service>[\w-]+):(?P<rest>.+?)(?P<pattern>\.sync(:\d)?|\.waitForTaskToken)?$"
)
_SYNC_ONLY = {
    "sync": {
        "ecs",
        "sagemaker",
        "batch",
        "states",
        "glue",
        "emr",
        "codebuild",
        "athena",
        "emr-serverless",
        "elasticmapreduce",
        "emr-containers",
        "eks",
        "bedrock",
    }
}
# Actions of the optimized integration, and whether they have .sync.
_SAGEMAKER = {
    "createEndpoint": False,
    "createEndpointConfig": False,
    "createHyperParameterTuningJob": True,
    "createLabelingJob": True,
    "createModel": False,
    "createProcessingJob": True,
    "createTrainingJob": True,
    "createTransformJob": True,
    "updateEndpoint": False,
}
_COMPARISON = re.compile(
    r"(String|Numeric|Timestamp|Boolean)(Equals|LessThan|GreaterThan|LessThanEquals|GreaterThanEquals|Matches)(Path)?|Is(Null|Present|Numeric|String|Boolean|Timestamp)"
)
_ERRORS = {
    "ALL",
    "Timeout",
    "TaskFailed",
    "Permissions",
    "ResultPathMatchFailure",
    "ParameterPathFailure",
    "QueryEvaluationError",
    "BranchFailed",
    "NoChoiceMatched",
    "IntrinsicFailure",
    "HeartbeatTimeout",
    "ExceedToleratedFailureThreshold",
    "ItemReaderFailed",
    "ResultWriterFailed",
    "DataLimitExceeded",
    "Runtime",
}


@template_rule(
    "MYT641",
    "A state that does not exist, or that nothing reaches",
    "StartAt, Next, Default and Catch name states of the same scope; every state is reached.",
)
def _graph(template: Template) -> Hits:
    for machine, definition in machines(template):
        at = machine.at("DefinitionString")
        for path, scope in scopes(definition):
            states = scope.get("States")
            if not isinstance(states, dict) or not states:
                yield at, f"{path or 'the machine'} has no States"
                continue
            start = scope.get("StartAt")
            if start not in states:
                yield at, f"StartAt names {start!r}, which does not exist"
            reached, todo = set(), [start]
            while todo:
                name = todo.pop()
                if name in states and name not in reached and isinstance(states[name], dict):
                    reached.add(name)
                    todo += list(successors(states[name]))
            for name, state in states.items():
                for target in successors(state) if isinstance(state, dict) else ():
                    if target not in states:
                        yield at, f"{name} leads to {target!r}, which does not exist"
                if name not in reached and start in states:
                    yield at, f"nothing leads to {name}"


@template_rule(
    "MYT642",
    "A state that never ends, or is none",
    "Each state has Next or End: true, or is Choice, Succeed or Fail; a Choice has Choices and a Default.",
)
def _ends(template: Template) -> Hits:
    for machine in template.of(MACHINE):
        if isinstance(definition_of(machine), str):
            yield machine.at("DefinitionString"), "is no JSON"
    for machine, definition in machines(template):
        at = machine.at("DefinitionString")
        for path, _, state, _ in states_of(definition):
            kind = state.get("Type")
            if kind not in _TYPES:
                yield at, f"{path} has the type {kind!r}"
            elif kind in ("Choice", "Succeed", "Fail"):
                if "Next" in state or "End" in state:
                    yield at, f"{path}: a {kind} state has neither Next nor End"
                if kind == "Choice":
                    yield from ((at, f"{path} {what}") for what in _choice(state))
            elif ("Next" in state) == (state.get("End") is True):
                yield at, f"{path} has {'both' if 'Next' in state else 'neither'} Next and End"


def _choice(state: dict[str, Any]) -> Iterator[str]:
    choices = objects(state.get("Choices"))
    if not choices:
        yield "has no Choices"
    if "Default" not in state:
        yield "has no Default: what matches nothing fails the execution"
    for choice in choices:
        if "Next" not in choice:
            yield "has a choice without Next"
        operators = [k for k in choice if _COMPARISON.fullmatch(k)]
        if "Variable" in choice and len(operators) != 1:
            yield f"has a choice with {len(operators)} comparisons"
        if "Variable" in choice and not str(choice["Variable"]).startswith("$"):
            yield f"compares {choice['Variable']!r}, which is no path"


@template_rule(
    "MYT643",
    "A task that the service cannot run",
    "Write the ARN of a function or an optimized integration; .sync and .waitForTaskToken where "
    "the service has them, the latter with the token in its input.",
)
def _tasks(template: Template) -> Hits:
    for machine, definition in machines(template):
        at = machine.at("DefinitionString")
        for path, _, state, _ in states_of(definition):
            if state.get("Type") != "Task":
                continue
            resource = str(state.get("Resource", ""))
            found = INTEGRATION.fullmatch(resource)
            if not resource:
                yield at, f"{path} has no Resource"
            elif (
                found is None
                and ":lambda:" not in resource
                and ":activity:" not in resource
                and "${" not in resource
            ):
                yield at, f"{path}: {resource} is no integration"
            if (
                found
                and (found["pattern"] or "").startswith(".sync")
                and found["service"] not in _SYNC_ONLY["sync"]
            ):
                yield at, f"{path}: {found['service']} has no .sync"
            if found and found["service"] == "sagemaker":
                yield from ((at, f"{path}: {what}") for what in _sagemaker(found, state))
            if found and found["pattern"] == ".waitForTaskToken":
                if "$$.Task.Token" not in json.dumps(state) and "states.context.Task.Token" not in json.dumps(
                    state
                ):
                    yield at, f"{path} waits for a token that it does not send"
                if (
                    "TimeoutSeconds" not in state
                    and "HeartbeatSeconds" not in state
                    and "TimeoutSeconds" not in definition
                ):
                    yield at, f"{path} waits for a token for up to a year: give it a time limit"
            heartbeat, timeout = number(state.get("HeartbeatSeconds")), number(state.get("TimeoutSeconds"))
            if heartbeat is not None and timeout is not None and heartbeat >= timeout:
                yield at, f"{path}: HeartbeatSeconds {heartbeat:g} is not below TimeoutSeconds {timeout:g}"


def _sagemaker(found: re.Match[str], state: dict[str, Any]) -> Iterator[str]:
    name = found["rest"]
    if name not in _SAGEMAKER:
        yield f"SageMaker's integration has no {name}, but: {', '.join(sorted(_SAGEMAKER))}"
        return
    if (found["pattern"] or "").startswith(".sync") and not _SAGEMAKER[name]:
        yield f"{name} has no .sync"
    arguments = state.get("Parameters", state.get("Arguments"))
    shape = input_shape(name[0].upper() + name[1:])
    if isinstance(arguments, dict) and not any(key.endswith("*") for key in arguments):
        given = {key.removesuffix(".$") for key in arguments}
        for member in sorted(given - set(shape.members)):
            yield f"{member} is no member of {name}"
        for member in sorted(set(shape.required_members) - given):
            yield f"lacks {member}, which {name} requires"


@template_rule(
    "MYT644",
    "A retry or catch that does not do what it seems to",
    "States.ALL stands alone and last; attempts from 0, intervals from 1 s, back-off from 1; "
    "States.* errors exist.",
)
def _errors(template: Template) -> Hits:
    for machine, definition in machines(template):
        at = machine.at("DefinitionString")
        for path, _, state, _ in states_of(definition):
            for member in ("Retry", "Catch"):
                entries = objects(state.get(member))
                for index, entry in enumerate(entries):
                    errors = [str(e) for e in listed(entry.get("ErrorEquals"))]
                    if not errors:
                        yield at, f"{path}: an entry of {member} without ErrorEquals"
                    if "States.ALL" in errors and (len(errors) > 1 or index < len(entries) - 1):
                        yield at, f"{path}: States.ALL in {member} is not alone and last"
                    for error in errors:
                        if error.startswith("States.") and error[7:] not in _ERRORS:
                            yield at, f"{path}: there is no error {error}"
                    rate, interval = number(entry.get("BackoffRate")), number(entry.get("IntervalSeconds"))
                    if (rate is not None and rate < 1) or (interval is not None and interval < 1):
                        yield at, f"{path}: BackoffRate or IntervalSeconds below 1"


@template_rule(
    "MYT645",
    "A value that is taken as text where a path is meant, or the other way round",
    "Members whose value is a path end in .$; others hold literals.",
)
def _paths(template: Template) -> Hits:
    for machine, definition in machines(template):
        at = machine.at("DefinitionString")
        if definition.get("QueryLanguage") == "JSONata":
            continue
        for path, _, state, _ in states_of(definition):
            for member in ("Parameters", "ResultSelector", "ItemSelector"):
                for name, value in _members(state.get(member)):
                    if (
                        name.endswith(".$")
                        and isinstance(value, str)
                        and not value.startswith(("$", "States."))
                    ):
                        yield at, f"{path}: {name} holds {value!r}, which is no path"
                    elif (
                        not name.endswith(".$")
                        and isinstance(value, str)
                        and re.match(r"\$\.\w|\$\$\.\w", value)
                    ):
                        yield at, f"{path}: {name} holds the text {value!r}: {name}.$ is meant"
            for member in (
                "InputPath",
                "OutputPath",
                "ResultPath",
                "ItemsPath",
                "SecondsPath",
                "TimestampPath",
            ):
                value = state.get(member)
                if isinstance(value, str) and not value.startswith("$"):
                    yield at, f"{path}: {member} {value!r} is no path"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name, item
            yield from _members(item)
    elif isinstance(value, list):
        for item in value:
            yield from _members(item)
