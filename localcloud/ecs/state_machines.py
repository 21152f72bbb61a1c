"""Tasks of state machines that call ECS: `ecs:runTask`, also `.sync`, and `aws-sdk:ecs`.

MiniStack would call its own ECS. Here the state machine's role calls ours over the API, so that IAM decides.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
"""

from __future__ import annotations

import time
from typing import Any

from localcloud.aws import sdk_tasks
from localcloud.context import Cloud
from localcloud.ecs.service import SERVICE

_RUN_TASK = "arn:aws:states:::ecs:runTask"
_PAUSE = 0.5


def install(cloud: Cloud) -> None:
    """Take the place of what MiniStack does for ECS."""
    from ministack.services import stepfunctions

    def run_task(resource: str, given: Any) -> Any:
        answer = sdk_tasks.call(cloud, SERVICE, "runTask", given, "ECS.")
        if not resource.endswith(".sync"):
            return answer
        if answer["Failures"]:
            raise stepfunctions._ExecutionError("AmazonECS.Unknown", str(answer["Failures"]))
        return _ended(cloud, answer["Tasks"])

    stepfunctions._SERVICE_DISPATCH[_RUN_TASK] = run_task
    sdk_tasks.install(cloud, SERVICE, "Ecs")


def _ended(cloud: Cloud, tasks: list[dict[str, Any]]) -> Any:
    """The tasks once all have stopped; one alone as the task itself, as on AWS."""
    from ministack.services import stepfunctions

    given = {"Cluster": tasks[0]["ClusterArn"], "Tasks": [task["TaskArn"] for task in tasks]}
    while True:
        found = sdk_tasks.call(cloud, SERVICE, "describeTasks", given, "ECS.")["Tasks"]
        if len(found) < len(tasks):
            raise stepfunctions._ExecutionError("ECS.AmazonECSException", "a task is gone")
        if all(task["LastStatus"] == "STOPPED" for task in found):
            break
        time.sleep(_PAUSE)
    failed = next((task for task in found if task.get("StopCode") == "TaskFailedToStart"), None)
    if failed is not None or any(each.get("ExitCode") for task in found for each in task["Containers"]):
        raise stepfunctions._ExecutionError("States.TaskFailed", str(failed or found[0]))
    return found[0] if len(found) == 1 else found
