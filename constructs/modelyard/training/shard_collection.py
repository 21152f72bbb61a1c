"""Shards that nothing names any more are deleted, now and then."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.images import ContainerImage
from modelyard.keys import only_through
from modelyard.permissions import allow, in_one_policy, service_principal
from modelyard.training.containers import ContainerTask
from modelyard.training.event_queue import EventQueue
from modelyard.training.ledger import Ledger
from modelyard.training.preprocessing_props import Collection, ImageFolder

_RULE = events.CfnRule


class ShardCollection(Construct):
    """A schedule that runs `training.preprocessing.manifest collect` on Fargate, with a role for that alone.

    A run that cannot be started, and one that fails, become messages among the dead letters of the queue.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        folder: Whose shards.
        ledger: What names them.
        dead_letters: Where failures go.
        cluster, subnets, security_group: Where the task runs.
        image: Of the workers.
        workers: Their task, whose log and whose right to pull it shares, and whose size it has.
        collection: How often, and how long a shard waits.

    Attributes:
        task: What runs.
        schedule: When it does.
        failures: What hears that it failed.

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/tasks-scheduled-eventbridge-scheduler.html
    """

    task: ContainerTask
    schedule: events.CfnRule
    failures: events.CfnRule

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        folder: ImageFolder,
        ledger: Ledger,
        dead_letters: EventQueue,
        cluster: ecs.ICluster,
        subnets: list[str],
        security_group: str,
        image: ContainerImage,
        workers: ContainerTask,
        collection: Collection,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        self.task = ContainerTask(
            self,
            "Task",
            name="collector",
            description=f"Deletes shards of {folder.dataset} that nothing names",
            image=image,
            command=[
                *("python", "-m", "training.preprocessing.manifest", "collect"),
                *("--grace-hours", str(collection.grace_hours)),
            ],
            environment={
                "DATASET": folder.dataset,
                "OUTPUT_URI": f"s3://{folder.target.bucket_name}/{folder.output}",
                "LEDGER_TABLE": ledger.table.table_name,
            },
            beside=workers,
            definition={
                "requires_compatibilities": ["FARGATE"],
                "cpu": workers.definition.cpu,
                "memory": workers.definition.memory,
            },
            container={},
        )
        with in_one_policy(self.task.task_role, "Data"):
            _grant(self.task.task_role, folder, ledger)
        days = collection.every_days
        self.schedule = _RULE(
            self,
            "Schedule",
            description=f"Looks for shards of {folder.dataset} that nothing names",
            schedule_expression=f"rate({days} day{'s' if days > 1 else ''})",
            targets=[
                _RULE.TargetProperty(
                    id="Collect",
                    arn=cluster.cluster_arn,
                    role_arn=self._starter(cluster).role_arn,
                    ecs_parameters=_RULE.EcsParametersProperty(
                        task_definition_arn=self.task.definition_arn,
                        # Not on Spot: an interruption would be told as a failure.
                        launch_type="FARGATE",
                        network_configuration=_RULE.NetworkConfigurationProperty(
                            aws_vpc_configuration=_RULE.AwsVpcConfigurationProperty(
                                subnets=subnets, security_groups=[security_group], assign_public_ip="DISABLED"
                            )
                        ),
                    ),
                    dead_letter_config=_RULE.DeadLetterConfigProperty(
                        arn=dead_letters.dead_letters.queue_arn
                    ),
                )
            ],
        )
        self.failures = _RULE(
            self,
            "Failures",
            description=f"Tells that shards of {folder.dataset} could not be collected",
            event_pattern=failed(self.task.definition_arn),
            targets=[_RULE.TargetProperty(id="Letters", arn=dead_letters.dead_letters.queue_arn)],
        )
        dead_letters.let_in(self.schedule, self.failures)

    def _starter(self, cluster: ecs.ICluster) -> iam.Role:
        role = iam.Role(
            self,
            "StarterRole",
            description="Starts the collection of shards",
            assumed_by=service_principal("events"),
        )
        with in_one_policy(role, "Start"):
            allow(
                role,
                actions=["ecs:RunTask"],
                resources=[self.task.definition_arn],
                conditions={"ArnEquals": {"ecs:cluster": cluster.cluster_arn}},
            )
            allow(
                role,
                actions=["iam:PassRole"],
                resources=[self.task.task_role.role_arn, self.task.execution_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            )
        return role


def failed(definition_arn: str) -> dict[str, Any]:
    """Events of a definition's tasks that ended with an error, or never began.

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
    """
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {
            "taskDefinitionArn": [definition_arn],
            "lastStatus": ["STOPPED"],
            "$or": [
                {"containers": {"exitCode": [{"anything-but": [0]}]}},
                {"stopCode": ["TaskFailedToStart"]},
            ],
        },
    }


def _grant(role: iam.Role, folder: ImageFolder, ledger: Ledger) -> None:
    """What `garbage.collect` does: names in three places, manifests, its own notes; only shards may go."""
    bucket, output = folder.target, folder.output
    ledger.grant_read(role, folder.dataset)
    shards, manifests, notes = f"{output}shards/", f"{output}manifests/", f"{output}garbage.json"
    allow(
        role,
        actions=["s3:ListBucket"],
        resources=[bucket.bucket_arn],
        conditions={"StringEquals": {"s3:prefix": [shards, manifests, notes]}},
    )
    allow(role, actions=["s3:GetObject", "s3:PutObject"], resources=[f"{bucket.bucket_arn}/{notes}"])
    for action, below in (("s3:GetObject", manifests), ("s3:DeleteObject", shards)):
        allow(
            role,
            actions=[action],
            resources=[f"{bucket.bucket_arn}/{below}*"],
            reason=f"Their names are hashes; the grant ends at {below}.",
        )
    if bucket.key_arn:
        allow(
            role,
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[bucket.key_arn],
            conditions=only_through("s3"),
        )
