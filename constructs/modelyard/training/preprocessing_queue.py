"""Uploads become training data: events, a queue, and workers that come with the work."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.images import ContainerImage
from modelyard.keys import only_through
from modelyard.permissions import allow, in_one_policy
from modelyard.storage import Retention
from modelyard.training.containers import ContainerTask
from modelyard.training.event_queue import EventQueue
from modelyard.training.ledger import Ledger
from modelyard.training.network import TrainingNetwork
from modelyard.training.preprocessing_props import ImageFolder, Workers
from modelyard.training.worker_scaling import WorkerScaling


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
        ledger: One for several datasets; a new one if None.
        retention: What becomes of the new ledger when the stack is deleted.
        log_retention: How long logs are kept.

    Attributes:
        events: The queue of events, with its alarm on those set aside.
        ledger: Where each image is named once.
        service: The workers.
        task: What they run.
        scaling: How many run.

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
        ledger: Ledger | None = None,
        retention: Retention | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        workers = workers or Workers()
        self._folder = folder
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
        service, cluster_name = ecs.CfnService, cluster.cluster_name
        group = network.security_group(self, "Group", f"Workers that prepare {folder.dataset}")
        self.service = service(
            self,
            "Service",
            cluster=cluster_name,
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
            cluster_name=cluster_name,
            service=self.service,
            events=self.events,
            workers=workers,
        )

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
