"""How hosts of training jobs are lost."""

from __future__ import annotations

from typing import Any

from tests.local.training.stage import Stage


def lose(stage: Stage, task: dict[str, Any]) -> None:
    """Take the host of a task away, as Spot does."""
    host = task["containerInstanceArn"]
    (found,) = stage.client("ecs").describe_container_instances(
        cluster=stage.outputs["ClusterName"], containerInstances=[host]
    )["containerInstances"]
    stage.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=found["ec2InstanceId"], ShouldDecrementDesiredCapacity=True
    )
