"""Tasks of state machines that call ECS: `ecs:runTask`, also `.sync`, and `aws-sdk:ecs`.

MiniStack would call its own ECS. Here the state machine's role calls ours over the API, so that IAM decides.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
"""

from __future__ import annotations

import time
from typing import Any

import botocore
from botocore.exceptions import ClientError

from localcloud.aws import identity
from localcloud.aws.differences import state_machine_role
from localcloud.aws.errors import RoleNotAssumable
from localcloud.context import Cloud
from localcloud.ecs.service import SERVICE
from localcloud.sagemaker import shapes

_RUN_TASK = "arn:aws:states:::ecs:runTask"
_PRINCIPAL = "states.amazonaws.com"
_PAUSE = 0.5


def install(cloud: Cloud) -> None:
    """Take the place of what MiniStack does for ECS."""
    from ministack.services import stepfunctions

    original = stepfunctions._dispatch_aws_sdk_json

    def run_task(resource: str, given: Any) -> Any:
        answer = _call(cloud, "runTask", given, "ECS.")
        if not resource.endswith(".sync"):
            return answer
        if answer["Failures"]:
            raise stepfunctions._ExecutionError("AmazonECS.Unknown", str(answer["Failures"]))
        return _ended(cloud, answer["Tasks"])

    def dispatch(service_info: Any, service_name: str, action: str, given: Any) -> Any:
        if service_name == SERVICE:
            return _call(cloud, action, given, "Ecs.")
        return original(service_info, service_name, action, given)

    stepfunctions._SERVICE_DISPATCH[_RUN_TASK] = run_task
    stepfunctions._dispatch_aws_sdk_json = dispatch


def _call(cloud: Cloud, action: str, given: Any, prefix: str) -> dict[str, Any]:
    from ministack.services import stepfunctions

    operation = action[:1].upper() + action[1:]
    try:
        model = shapes.service_model(SERVICE).operation_model(operation)
    except botocore.model.OperationNotFoundError:
        raise stepfunctions._ExecutionError("States.Runtime", f"ECS has no action {action}") from None
    role = state_machine_role.role_of_task()
    try:
        session = identity.assume_role(role or "", service=_PRINCIPAL, session="states")
        client = cloud.client(SERVICE, session)
        method = getattr(client, botocore.xform_name(operation))
        answer = method(**renamed(given, model.input_shape, small=True))
    except ClientError as error:
        found = error.response["Error"]
        code = found["Code"] if found["Code"].endswith("Exception") else f"{found['Code']}Exception"
        raise stepfunctions._ExecutionError(f"{prefix}{code}", found.get("Message", "")) from error
    except RoleNotAssumable as error:
        raise stepfunctions._ExecutionError("States.TaskFailed", error.message) from error
    shown: dict[str, Any] = renamed(answer, model.output_shape, small=False)
    return shown


def _ended(cloud: Cloud, tasks: list[dict[str, Any]]) -> Any:
    """The tasks once all have stopped; one alone as the task itself, as on AWS."""
    from ministack.services import stepfunctions

    given = {"Cluster": tasks[0]["ClusterArn"], "Tasks": [task["TaskArn"] for task in tasks]}
    while True:
        found = _call(cloud, "describeTasks", given, "ECS.")["Tasks"]
        if len(found) < len(tasks):
            raise stepfunctions._ExecutionError("ECS.AmazonECSException", "a task is gone")
        if all(task["LastStatus"] == "STOPPED" for task in found):
            break
        time.sleep(_PAUSE)
    failed = next((task for task in found if task.get("StopCode") == "TaskFailedToStart"), None)
    if failed is not None or any(each.get("ExitCode") for task in found for each in task["Containers"]):
        raise stepfunctions._ExecutionError("States.TaskFailed", str(failed or found[0]))
    return found[0] if len(found) == 1 else found


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
