"""The log driver `awslogs`: a container's output in CloudWatch Logs, written with the execution role.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws.identity import AccessDenied, RoleNotAssumable
from localcloud.aws.logs import LogStream
from localcloud.context import Cloud, Credentials
from localcloud.ecs.failure import TaskFailure

_REFUSED = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
)


def stream_name(container: Mapping[str, Any], task_id: str, runtime_id: str) -> str:
    """`PREFIX/CONTAINER/TASK-ID`, or the container's own id without a prefix."""
    prefix = container["logConfiguration"].get("options", {}).get("awslogs-stream-prefix")
    return f"{prefix}/{container['name']}/{task_id}" if prefix else runtime_id


def open_log(
    cloud: Cloud,
    container: Mapping[str, Any],
    task_id: str,
    runtime_id: str,
    writer: Callable[[], Credentials] | None,
) -> LogStream | None:
    """The stream of a container, made now; None for a container whose output nobody keeps.

    Raises:
        TaskFailure: The group is missing, or the execution role may not write.
    """
    settings = container.get("logConfiguration")
    if not settings or settings["logDriver"] != "awslogs":
        return None
    options = settings["options"]
    stream = LogStream(cloud, options["awslogs-group"], stream_name(container, task_id, runtime_id), writer)
    try:
        stream.open(make_group=options.get("awslogs-create-group", "false").lower() == "true")
    except LookupError:
        raise TaskFailure(
            f"{_REFUSED}failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log "
            f"group does not exist. : {options['awslogs-group']}"
        ) from None
    except (AccessDenied, RoleNotAssumable) as error:
        raise TaskFailure(f"{_REFUSED}failed to create Cloudwatch log stream: {error.message}") from None
    return stream
