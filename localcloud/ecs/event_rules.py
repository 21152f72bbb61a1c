"""Tasks that EventBridge's rules start, with the role of the target; MiniStack knows no such targets.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_EcsParameters.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/CloudWatch-Events-tutorial-ECS.html
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.aws import identity
from localcloud.aws.differences import event_targets
from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.sdk_tasks import renamed
from localcloud.context import Cloud
from localcloud.ecs.service import SERVICE
from localcloud.sagemaker import shapes

_PRINCIPAL = "events.amazonaws.com"
_LONGEST_STARTER = 128
# Of EcsParameters, where RunTask has another name.
_NAMES = {"TaskDefinitionArn": "taskDefinition", "TaskCount": "count"}
_DENIED = ("AccessDenied", "AccessDeniedException")


def install(cloud: Cloud) -> None:
    """Let rules start tasks."""

    def run(target: dict[str, Any], given: str | None, rule: str) -> tuple[str, str] | None:
        try:
            request = request_of(target, given, rule)
            role = identity.assume_role(target.get("RoleArn", ""), service=_PRINCIPAL, session="events")
            answer = cloud.client(SERVICE, role).run_task(**request)
        except RoleNotAssumable as error:
            return "NO_PERMISSIONS", error.message
        except (ParamValidationError, ValueError) as error:
            return "INVALID_PARAMETER", str(error)
        except ClientError as error:
            found = error.response["Error"]
            denied = found["Code"] in _DENIED
            return "NO_PERMISSIONS" if denied else "SDK_CLIENT_ERROR", found.get("Message", "")
        failures = answer["failures"]
        return ("SDK_CLIENT_ERROR", json.dumps(failures)) if failures else None

    event_targets.deliver_by(SERVICE, run)


def request_of(target: dict[str, Any], given: str | None, rule: str) -> dict[str, Any]:
    """RunTask's members for a target.

    Args:
        target: of the rule, as PutTargets or a template has it.
        given: its constant input: overrides of the task's containers.
        rule: ARN of the rule, whose name becomes `startedBy`.

    Raises:
        ValueError: `given` is no JSON object.
    """
    shape = shapes.service_model(SERVICE).operation_model("RunTask").input_shape
    parameters = dict(target.get("EcsParameters") or {})
    # What a template says of numbers and truth may be text.
    for name, reads in (
        ("TaskCount", int),
        ("EnableECSManagedTags", _truth),
        ("EnableExecuteCommand", _truth),
    ):
        if name in parameters:
            parameters[name] = reads(parameters[name])
    named = {_NAMES.get(name, name): value for name, value in parameters.items()}
    request: dict[str, Any] = renamed(named, shape, small=True)
    if given:
        overrides = json.loads(given)
        if not isinstance(overrides, dict):
            raise ValueError("the input of an ECS target must be a JSON object of overrides")
        request["overrides"] = renamed(overrides, shape.members["overrides"], small=True)
    starter = f"events-rule/{rule.rpartition('/')[2]}"[:_LONGEST_STARTER]
    return {**request, "cluster": target["Arn"], "startedBy": starter}


def _truth(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
