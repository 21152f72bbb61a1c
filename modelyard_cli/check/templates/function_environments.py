"""The environments of functions, and of tasks where the same goes for them.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""

from __future__ import annotations

import re
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.secrets import SECRET
from modelyard_cli.check.templates.functions import FUNCTION, RESERVED_VARIABLES
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    objects,
    opaque,
    part,
)

_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_TOKEN)$", re.IGNORECASE
)
_NAMED = {
    "ENDPOINT_NAME": "AWS::SageMaker::Endpoint",
    "TABLE_NAME": "AWS::DynamoDB::Table",
    "QUEUE_URL": "AWS::SQS::Queue",
    "STATE_MACHINE_ARN": "AWS::StepFunctions::StateMachine",
}


def _variables(function: Resource) -> dict[str, Any]:
    found = part(function.properties, "Environment", "Variables")
    return found if isinstance(found, dict) else {}


def _is_secret(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and known(value)
        and len(value) >= 6
        and (
            SECRET.search(value) is not None
            or (_SECRET_NAME.search(name) is not None and not value.startswith(("arn:", "/")))
        )
    )


@template_rule(
    "MYT604",
    "A secret in a function's environment",
    "Read it from Secrets Manager at run time: who may describe the function sees its environment.",
)
def _secrets(template: Template) -> Hits:
    for function in template.of(FUNCTION):
        for name, value in _variables(function).items():
            if _is_secret(name, value):
                yield function.at(f"Environment.Variables.{name}"), "holds what looks like a secret"
    for task in template.of("AWS::ECS::TaskDefinition"):
        for index, container in enumerate(objects(task.properties.get("ContainerDefinitions"))):
            for item in objects(container.get("Environment")):
                name = str(item.get("Name"))
                if _is_secret(name, item.get("Value")):
                    yield (
                        task.at(f"ContainerDefinitions[{index}].Environment"),
                        f"{name} holds what looks like a secret",
                    )


@template_rule(
    "MYT609",
    "An environment that names what this assembly does not have",
    "Refer to the resource, in whatever stack it is.",
)
def _environment(template: Template) -> Hits:
    for function in template.of(FUNCTION):
        for name, value in _variables(function).items():
            kind = next(
                (k for ending, k in _NAMED.items() if name == ending or name.endswith("_" + ending)), None
            )
            if (
                kind
                and isinstance(value, str)
                and value
                and not opaque(value)
                and template.assembly.target(value, kind) is None
                and any(True for _ in template.assembly.of(kind))
            ):
                yield function.at(f"Environment.Variables.{name}"), f"there is no {kind} {value}"


@template_rule(
    "MYT616",
    "A variable that a function's code reads and nobody sets",
    "Set it in Environment, or read it with a default.",
)
def _unset(template: Template) -> Hits:
    for function in template.of(FUNCTION):
        code = part(function.properties, "Code", "ZipFile")
        if not isinstance(code, str) or not str(function.properties.get("Runtime")).startswith("python"):
            continue
        read = re.findall(r"""os\.environ\[["'](\w+)["']\](?!\s*=[^=])""", code)
        for name in sorted(set(read) - set(_variables(function))):
            if not RESERVED_VARIABLES.fullmatch(name) and not name.startswith(("AWS_", "LAMBDA_")):
                yield (
                    function.at("Code.ZipFile"),
                    f"reads the variable {name}, which Environment does not set",
                )
