"""Calls through `aws-sdk` of state machines' tasks, as requests of their role, so that IAM decides.

MiniStack would call its own handlers, without anybody's name on the request.
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

from __future__ import annotations

from typing import Any

import botocore
from botocore.exceptions import ClientError, ParamValidationError

from localcloud.aws.differences import service_roles, state_machine_role
from localcloud.context import Cloud
from localcloud.sagemaker import shapes

_PRINCIPAL = "states.amazonaws.com"


def install(cloud: Cloud, service: str, prefix: str) -> None:
    """Send the calls of one service so.

    Args:
        service: `ec2`, `ssm` or `ecs`, as in `aws-sdk:SERVICE:action`.
        prefix: of its errors' names, for example `Ssm`.
    """
    from ministack.services import stepfunctions

    original = stepfunctions._invoke_aws_sdk_integration

    def invoke(resource: str, given: Any) -> Any:
        parts = resource.split(":")
        if len(parts) > 7 and parts[6].lower() == service:
            return call(cloud, service, parts[7].partition(".")[0], given, f"{prefix}.")
        return original(resource, given)

    stepfunctions._invoke_aws_sdk_integration = invoke


def call(cloud: Cloud, service: str, action: str, given: Any, prefix: str) -> dict[str, Any]:
    """What a service answers the role of the state machine whose task runs in this thread.

    Args:
        service: boto3's name, for example `ecs`.
        action: for example `runTask`.
        prefix: of the errors' names, for example `ECS.`.

    Raises MiniStack's error of a task.
    """
    from ministack.services import stepfunctions

    operation = action[:1].upper() + action[1:]
    try:
        model = shapes.service_model(service).operation_model(operation)
    except botocore.model.OperationNotFoundError:
        raise stepfunctions._ExecutionError("States.Runtime", f"{service} has no action {action}") from None
    role = state_machine_role.role_of_task()
    try:
        session = service_roles.session_of(role or "", _PRINCIPAL)
        if session is None:
            text = f"The role {role} does not exist or does not trust {_PRINCIPAL}"
            raise stepfunctions._ExecutionError("States.TaskFailed", text)
        client = cloud.client(service, session)
        method = getattr(client, botocore.xform_name(operation))
        answer = method(**renamed(given, model.input_shape, small=True))
    except ClientError as error:
        found = error.response["Error"]
        # EC2's model has no errors: the SDK knows one for all.
        named = "Ec2" if service == "ec2" else found["Code"].removesuffix("Exception")
        code = f"{named}Exception"
        raise stepfunctions._ExecutionError(f"{prefix}{code}", found.get("Message", "")) from error
    except ParamValidationError as error:
        raise stepfunctions._ExecutionError("States.Runtime", str(error)) from error
    shown: dict[str, Any] = renamed(answer, model.output_shape, small=False)
    return shown


def renamed(value: Any, shape: Any, *, small: bool) -> Any:
    """Members with small first letters for the API, with capitals for the state machine; times as text."""
    if shape is None:
        return {}
    if shape.type_name == "structure" and isinstance(value, dict):
        known = {name.lower(): name for name in shape.members}
        found = {}
        for name, item in value.items():
            member = known.get(name.lower())
            if member is not None:
                shown = member if small else member[0].upper() + member[1:]
                found[shown] = renamed(item, shape.members[member], small=small)
            elif small:
                found[name] = item  # for the client to refuse
        return found
    if shape.type_name == "list" and isinstance(value, list):
        return [renamed(item, shape.member, small=small) for item in value]
    if shape.type_name == "timestamp" and not small:
        return value.isoformat()
    return value
