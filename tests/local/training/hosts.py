"""How hosts of training jobs are lost."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tests.local.support import noticed
from tests.local.training.stage import Stage


def lose(stage: Stage, task: dict[str, Any]) -> None:
    """Take the host of a task away, without a word."""
    stage.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=host_of(stage, task)["ec2InstanceId"], ShouldDecrementDesiredCapacity=True
    )


def warned(stage: Stage, task: dict[str, Any]) -> AbstractContextManager[None]:
    """Spot gives notice of taking the host of a task away, two minutes ahead as on AWS."""
    return noticed(stage.cloud.folder, {host_of(stage, task)["ec2InstanceId"]: 120})


def host_of(stage: Stage, task: dict[str, Any]) -> dict[str, Any]:
    """The container instance that a task is on."""
    (found,) = stage.client("ecs").describe_container_instances(
        cluster=stage.outputs["ClusterName"], containerInstances=[task["containerInstanceArn"]]
    )["containerInstances"]
    return dict(found)
