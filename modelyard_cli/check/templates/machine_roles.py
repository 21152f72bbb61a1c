"""Roles and logs of state machines.

https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.machines import INTEGRATION
from modelyard_cli.check.templates.model import Template, literal, objects, opaque
from modelyard_cli.check.templates.role_needs import role_of
from modelyard_cli.check.templates.statements import may
from modelyard_cli.check.templates.states import MACHINE, definition_of, machines, states_of

_MANAGED_RULE = ("events:PutRule", "events:PutTargets", "events:DescribeRule")
_SYNC = {
    ("ecs", "runTask"): (
        "ecs:RunTask",
        "ecs:StopTask",
        "ecs:DescribeTasks",
        *_MANAGED_RULE,
        "iam:PassRole",
    ),
    # AWS lists rights on events for its jobs too: Step Functions learns of their end by a managed rule.
    ("sagemaker", "createTrainingJob"): (
        *_MANAGED_RULE,
        "sagemaker:CreateTrainingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:StopTrainingJob",
        "iam:PassRole",
    ),
    ("sagemaker", "createProcessingJob"): (
        "sagemaker:CreateProcessingJob",
        "sagemaker:DescribeProcessingJob",
        "sagemaker:StopProcessingJob",
        "iam:PassRole",
    ),
    ("sagemaker", "createTransformJob"): (
        *_MANAGED_RULE,
        "sagemaker:CreateTransformJob",
        "sagemaker:DescribeTransformJob",
        "sagemaker:StopTransformJob",
    ),
    ("states", "startExecution"): (
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
    ),
    ("batch", "submitJob"): ("batch:SubmitJob", "batch:DescribeJobs", "batch:TerminateJob"),
}
_PLAIN = {
    ("lambda", "invoke"): ("lambda:InvokeFunction",),
    ("sqs", "sendMessage"): ("sqs:SendMessage",),
    ("sns", "publish"): ("sns:Publish",),
    ("ecs", "runTask"): ("ecs:RunTask", "iam:PassRole"),
    ("dynamodb", "getItem"): ("dynamodb:GetItem",),
    ("dynamodb", "putItem"): ("dynamodb:PutItem",),
    ("dynamodb", "updateItem"): ("dynamodb:UpdateItem",),
    ("dynamodb", "deleteItem"): ("dynamodb:DeleteItem",),
    ("events", "putEvents"): ("events:PutEvents",),
    ("states", "startExecution"): ("states:StartExecution",),
}


@template_rule(
    "MYT646",
    "A state machine whose role lacks what its tasks do",
    "Grant what AWS lists for the integration; .sync of ECS and of SageMaker's jobs needs "
    "rights on the rule StepFunctionsGetEventsFor... too.",
)
def _permissions(template: Template) -> Hits:
    for machine, definition in machines(template):
        role = role_of(template, machine.properties.get("RoleArn"))
        if role is None:
            continue
        seen: set[str] = set()
        for path, _, state, _ in states_of(definition):
            for action, on in _needed(state):
                if action not in seen and not may(role, action, on):
                    seen.add(action)
                    yield (
                        machine.at("RoleArn"),
                        f"{path} needs {action} on {literal(on)}, which {role.id} lacks",
                    )


def _needed(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    resource = str(state.get("Resource", ""))
    if ":lambda:" in resource and ":states:" not in resource:
        yield "lambda:InvokeFunction", "*" if opaque(resource) else resource
        return
    found = INTEGRATION.fullmatch(resource)
    if found is None:
        return
    key = (found["service"], found["rest"].split(".")[0])
    table = _SYNC if (found["pattern"] or "").startswith(".sync") else _PLAIN
    if found["service"] == "aws-sdk":
        return
    yield from ((action, "*") for action in table.get(key, ()))


@template_rule(
    "MYT647",
    "A state machine that leaves no trace",
    "Log errors at least, with their data only where it is no secret.",
)
def _logging(template: Template) -> Hits:
    for machine in template.of(MACHINE):
        level = (machine.properties.get("LoggingConfiguration") or {}).get("Level", "OFF")
        if level == "OFF" and machine.properties.get("StateMachineType") == "EXPRESS":
            yield (
                machine.at("LoggingConfiguration"),
                Advice("is off: express executions are not kept anywhere else"),
            )
        if level != "OFF" and not objects(
            (machine.properties.get("LoggingConfiguration") or {}).get("Destinations")
        ):
            yield machine.at("LoggingConfiguration"), "has no destination"
        definition = definition_of(machine)
        if (
            machine.properties.get("StateMachineType") == "EXPRESS"
            and isinstance(definition, dict)
            and re.search(r"\.sync|waitForTaskToken", json.dumps(definition))
        ):
            yield machine.at("StateMachineType"), "express machines have neither .sync nor .waitForTaskToken"
