"""The hosts of training jobs: what they are told besides, and how they are lost."""

from __future__ import annotations

from typing import Any

from tests.local.training.stage import Stage

# The entry of a trainer that says how its job ended, with the rights of the trainer's role.
REPORTING = """
_train = main


def main(arguments):
    from training.vision.job_record import from_environment

    _train(arguments)
    from_environment().finished(0)


if __name__"""


def let_trainers_report(stage: Stage) -> None:
    """In the image that was pushed: until the trainer keeps the job's record itself, its entry does."""
    (entry,) = stage.cloud.folder.images.glob("*/root/opt/program/training/vision/launch.py")
    text = entry.read_text()
    if "from_environment" not in text:
        entry.write_text(text.replace("\nif __name__", REPORTING))


def lose(stage: Stage, task: dict[str, Any]) -> None:
    """Take the host of a task away, as Spot does."""
    host = task["containerInstanceArn"]
    (found,) = stage.client("ecs").describe_container_instances(
        cluster=stage.outputs["ClusterName"], containerInstances=[host]
    )["containerInstances"]
    stage.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=found["ec2InstanceId"], ShouldDecrementDesiredCapacity=True
    )
