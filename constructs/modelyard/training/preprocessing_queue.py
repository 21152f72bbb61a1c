"""Uploads become training data: events, a queue, and workers that come with the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.durations import minutes
from modelyard.images import ContainerImage
from modelyard.keys import only_through
from modelyard.permissions import allow, in_one_policy
from modelyard.storage import Retention
from modelyard.training.containers import ContainerTask
from modelyard.training.event_queue import EventQueue
from modelyard.training.ledger import Ledger
from modelyard.training.monitoring_board import CLUSTER, DATASET, NAMESPACE, PREPARED, QUARANTINED
from modelyard.training.network import TrainingNetwork
from modelyard.training.preprocessing_props import Collection, ImageFolder, Workers
from modelyard.training.worker_scaling import WorkerScaling

if TYPE_CHECKING:
    from modelyard.training.shard_collection import ShardCollection

# A share of fewer images says nothing: one upload that is broken would be all of an hour's.
_LEAST_QUARANTINED = 10
QUARANTINED_SHARE = (
    f"IF(quarantined < {_LEAST_QUARANTINED}, 0, 100 * quarantined / (quarantined + FILL(prepared, 0)))"
)


class PreprocessingQueue(Construct):
    """Images uploaded to a folder become shards and records of a ledger, each once, by workers on Fargate.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        folder: Where the images come, and where the shards go.
        cluster: Where the workers run; it must have the providers `FARGATE_SPOT` and `FARGATE`.
        network: Likewise.
        image: The workers', with `training.preprocessing`.
        workers: Their number, size and patience.
        collection: How often shards that nothing names are deleted; never if None.
        ledger: One for several datasets; a new one if None.
        retention: What becomes of the new ledger when the stack is deleted.
        log_retention: How long logs are kept.

    Attributes:
        events: The queue of events, with its alarm on those set aside.
        ledger: Where each image is named once.
        service: The workers.
        task: What they run.
        scaling: How many run.
        quarantine: Alarm on uploads of which many cannot be used.
        collection: What deletes shards, None if nothing does.

    Example:
        >>> PreprocessingQueue(stack, "Dogs", cluster=training.cluster, network=network, image=image,
        ...     folder=ImageFolder(dataset="dogs", bucket=data, uploads="uploads/dogs/",
        ...                        output="datasets/dogs/"))

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html
    """

    events: EventQueue
    ledger: Ledger
    service: ecs.CfnService
    task: ContainerTask
    scaling: WorkerScaling
    quarantine: cloudwatch.Alarm
    collection: ShardCollection | None

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        folder: ImageFolder,
        cluster: ecs.ICluster,
        network: TrainingNetwork,
        image: ContainerImage,
        workers: Workers | None = None,
        collection: Collection | None = None,
        ledger: Ledger | None = None,
        retention: Retention | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        workers = workers or Workers()
        self._folder, self._cluster_name = folder, cluster.cluster_name
        self.ledger = ledger or Ledger(self, "Ledger", retention=retention)
        self.events = EventQueue(
            self,
            "Events",
            bucket=folder.bucket,
            folder=folder.uploads,
            visibility_seconds=workers.visibility_seconds,
            attempts=workers.attempts,
            oldest_minutes=workers.oldest_minutes,
        )
        self.task = self._task(image, workers, log_retention)
        with in_one_policy(self.task.task_role, "Data") as permissions:
            self._grant(self.task.task_role)
        service = ecs.CfnService
        group = network.security_group(self, "Group", f"Workers that prepare {folder.dataset}")
        self.service = service(
            self,
            "Service",
            cluster=self._cluster_name,
            task_definition=self.task.definition_arn,
            capacity_provider_strategy=_strategy(spot=workers.spot),
            # No number of tasks: scaling's is kept by updates, and the one at creation ends when it is idle.
            deployment_configuration=service.DeploymentConfigurationProperty(
                # A worker may go any time: an update need not wait for new ones.
                minimum_healthy_percent=0,
                maximum_percent=200,
                deployment_circuit_breaker=service.DeploymentCircuitBreakerProperty(
                    enable=True, rollback=True
                ),
            ),
            network_configuration=service.NetworkConfigurationProperty(
                awsvpc_configuration=service.AwsVpcConfigurationProperty(
                    subnets=network.subnet_ids,
                    security_groups=[group.security_group_id],
                    assign_public_ip="DISABLED",
                )
            ),
        )
        if permissions.policy:
            self.service.node.add_dependency(permissions.policy)
        self.scaling = WorkerScaling(
            self,
            "Scaling",
            cluster_name=self._cluster_name,
            service=self.service,
            events=self.events,
            workers=workers,
        )
        self.quarantine = self._watch()
        self.collection = None
        if collection:
            # Here, since loading it costs every synth, and not every queue has one.
            from modelyard.training.shard_collection import ShardCollection

            self.collection = ShardCollection(
                self,
                "Collection",
                folder=folder,
                ledger=self.ledger,
                dead_letters=self.events,
                cluster=cluster,
                subnets=network.subnet_ids,
                security_group=group.security_group_id,
                image=image,
                workers=self.task,
                collection=collection,
            )

    def metric_prepared(self) -> cloudwatch.Metric:
        """Images that came into the dataset, sum per hour."""
        return self._metric(PREPARED)

    def metric_quarantined(self) -> cloudwatch.Metric:
        """Images that cannot be used, sum per hour."""
        return self._metric(QUARANTINED)

    def grant_use(self, grantee: iam.IGrantable) -> None:
        """Allow uploading images, writing manifests of what they become, asking how long the queue is."""
        folder = self._folder
        folder.bucket.grant_write(grantee, folder.uploads, multipart=False)
        self.ledger.grant_read(grantee, folder.dataset)
        folder.target.grant_read(grantee, folder.output)
        folder.target.grant_write(grantee, f"{folder.output}manifests/", multipart=False)
        allow(grantee, actions=["sqs:GetQueueAttributes"], resources=[self.events.queue.queue_arn])

    def grant_manage(self, grantee: iam.IGrantable) -> None:
        """Allow what `python -m training.preprocessing.manifest` does: read the ledger, read, write and
        delete below the output, and ask how long the queue is."""
        folder = self._folder
        self.ledger.grant_read(grantee, folder.dataset)
        folder.target.grant_read_write(grantee, folder.output)
        folder.target.grant_delete(grantee, folder.output)
        allow(grantee, actions=["sqs:GetQueueAttributes"], resources=[self.events.queue.queue_arn])

    def _metric(self, name: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={CLUSTER: self._cluster_name, DATASET: self._folder.dataset},
            period=minutes(60),
            statistic="Sum",
        )

    def _watch(self) -> cloudwatch.Alarm:
        dataset = self._folder.dataset
        return cloudwatch.Alarm(
            self,
            "Quarantine",
            alarm_description=f"Many images of {dataset} cannot be used: the workers' log says which and why",
            metric=cloudwatch.MathExpression(
                expression=QUARANTINED_SHARE,
                using_metrics={"prepared": self.metric_prepared(), "quarantined": self.metric_quarantined()},
                period=minutes(60),
            ),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=self._folder.quarantined_percent,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _grant(self, role: iam.Role) -> None:
        folder = self._folder
        self.events.grant_consume(role)
        self.ledger.grant_claim(role, folder.dataset)
        bucket = folder.bucket
        allow(
            role,
            actions=["s3:GetObject", "s3:GetObjectVersion"],
            resources=[f"{bucket.bucket_arn}/{folder.uploads}*"],
            reason=f"Images are uploaded at run time; the grant ends at {folder.uploads}.",
        )
        # An image may be gone before its turn. Only who may list is told so; others are told 403, as if they
        # had no right. S3 asks for it without a prefix, so that a condition on that would never hold.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        allow(role, actions=["s3:ListBucket"], resources=[bucket.bucket_arn])
        if bucket.key_arn:
            allow(role, actions=["kms:Decrypt"], resources=[bucket.key_arn], conditions=only_through("s3"))
        folder.target.grant_write(role, folder.output, multipart=False)

    def _task(
        self, image: ContainerImage, workers: Workers, log_retention: logs.RetentionDays
    ) -> ContainerTask:
        folder = self._folder
        return ContainerTask(
            self,
            "Task",
            name="worker",
            description=f"Prepares images of {folder.dataset}",
            image=image,
            command=[
                *("python", "-m", "training.preprocessing.worker"),
                *("--batch", str(workers.batch)),
                *("--visibility", str(workers.visibility_seconds)),
            ],
            environment={
                "DATASET": folder.dataset,
                "DATA_URI": f"s3://{folder.bucket.bucket_name}/{folder.uploads}",
                "OUTPUT_URI": f"s3://{folder.target.bucket_name}/{folder.output}",
                "LEDGER_TABLE": self.ledger.table.table_name,
                "QUEUE_URL": self.events.queue.queue_url,
                "TRAINING_CLUSTER": self._cluster_name,
                "IMAGE_SIZE": str(folder.image_size),
                "VALIDATION_SHARE": f"{folder.validation_share:g}",
                "TEST_SHARE": f"{folder.test_share:g}",
            },
            log_retention=log_retention,
            definition={
                "requires_compatibilities": ["FARGATE"],
                "cpu": str(workers.cpu),
                "memory": str(workers.memory_mib),
            },
            container={},
        )


def _strategy(*, spot: bool) -> list[ecs.CfnService.CapacityProviderStrategyItemProperty]:
    """The first task beside Spot, which may have no room: ECS then waits, and takes no other provider.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html
    """
    item = ecs.CfnService.CapacityProviderStrategyItemProperty
    if not spot:
        return [item(capacity_provider="FARGATE", weight=1)]
    return [
        item(capacity_provider="FARGATE", base=1, weight=0),
        item(capacity_provider="FARGATE_SPOT", weight=1),
    ]
