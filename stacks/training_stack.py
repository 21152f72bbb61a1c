"""Training on hosts of the stage's own: a cluster, queues that prepare images, a single host."""

from __future__ import annotations

from dataclasses import replace

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.build_context import BuildContext
from modelyard.images import ContainerImage
from modelyard.storage import IDataBucket
from modelyard.training import (
    ImageFolder,
    Ledger,
    PreprocessingQueue,
    TrainingCluster,
    TrainingData,
    TrainingInstance,
    TrainingNetwork,
)
from modelyard.training.props import SSM_ENDPOINTS, NetworkLayout
from pipeline_defs.code import REPO
from stacks.alarm_topic import AlarmTopic
from stacks.environments import Environment
from stacks.stage_stack import StageStack
from stacks.training_settings import TrainingSettings

TRAINER_IMAGE, WORKER_IMAGE = "cluster.Dockerfile", "preprocessing.Dockerfile"
# Folders of the data bucket. Trainers read datasets, and nothing that was not prepared.
UPLOADS, DATASETS, JOBS = "uploads/", "datasets/", "training-jobs/"


class TrainingStack(StageStack):
    """What an environment's section `training` asks for.

    Attributes:
        network: Isolated subnets and endpoints.
        cluster: ECS cluster, its hosts, the trainer and the rendezvous.
        queues: Queues by dataset.
        instance: A single host, None where the stage has none.

    Raises:
        ValueError: The environment has no such section.
    """

    network: TrainingNetwork
    cluster: TrainingCluster
    queues: dict[str, PreprocessingQueue]
    instance: TrainingInstance | None

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: IDataBucket,
        alarm_topic: AlarmTopic | None = None,
    ) -> None:
        super().__init__(
            scope, construct_id, environment=environment, description="training on hosts that may vanish"
        )
        settings = environment.training
        if settings is None:
            raise ValueError(
                f"environment {environment.name} has no section training; set training=TrainingSettings()"
            )
        self.network = TrainingNetwork(self, "Network", layout=_layout(settings))
        image = self._image(TRAINER_IMAGE, "trainer image")
        places = TrainingData(bucket=data, datasets=DATASETS, jobs=JOBS)
        self.cluster = TrainingCluster(
            self,
            "Cluster",
            network=self.network,
            image=image,
            data=places,
            pools=settings.pools,
            size=settings.size,
            insights=settings.insights,
        )
        self.queues = self._queues(settings, environment, data)
        if alarm_topic:
            alarm_topic.hear([queue.events.letters for queue in self.queues.values()])
        self.instance = (
            TrainingInstance(
                self,
                "Instance",
                network=self.network,
                image=image,
                data=places,
                size=settings.instance,
                gpu=settings.size.gpus > 0,
                processes=settings.size.processes,
            )
            if settings.instance
            else None
        )
        self._tell()

    def _image(self, dockerfile: str, name: str) -> ContainerImage:
        context = BuildContext(folder=REPO / "training", dockerfile=dockerfile)
        return ContainerImage.build(self, context, name=name)

    def _queues(
        self, settings: TrainingSettings, environment: Environment, data: IDataBucket
    ) -> dict[str, PreprocessingQueue]:
        if not settings.datasets:
            return {}
        image = self._image(WORKER_IMAGE, "worker image")
        ledger = Ledger(self, "Ledger", retention=environment.data.retention)
        queues = {}
        for dataset in settings.datasets:
            queue = PreprocessingQueue(
                self,
                f"Dataset-{dataset.name}",
                folder=ImageFolder(
                    dataset=dataset.name,
                    bucket=data,
                    uploads=f"{UPLOADS}{dataset.name}/",
                    output=f"{DATASETS}{dataset.name}/",
                    image_size=dataset.image_size,
                    validation_share=dataset.validation_share,
                    test_share=dataset.test_share,
                ),
                cluster=self.cluster.cluster,
                network=self.network,
                image=image,
                workers=settings.workers,
                ledger=ledger,
            )
            # ECS refuses a service on providers that its cluster has not yet.
            queue.service.node.add_dependency(self.cluster.providers)
            queues[dataset.name] = queue
        return queues

    def _tell(self) -> None:
        """What `aws ecs run-task` and `aws stepfunctions start-execution` want to know."""
        outputs = {
            "ClusterName": self.cluster.cluster.cluster_name,
            "TrainerTaskDefinition": self.cluster.trainer.definition_arn,
            "TrainerSecurityGroup": self.cluster.trainer_security_group.security_group_id,
            "TrainingSubnets": ",".join(self.network.subnet_ids),
            "CapacityProviders": ",".join(self.cluster.capacity_providers),
            **{
                f"Queue{place}Url": queue.events.queue.queue_url
                for place, queue in enumerate(self.queues.values())
            },
        }
        if self.queues:
            ledger = next(iter(self.queues.values())).ledger
            outputs["LedgerTableName"] = ledger.table.table_name
        if self.instance:
            outputs["InstanceDriverArn"] = self.instance.driver.attr_arn
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _layout(settings: TrainingSettings) -> NetworkLayout:
    """With the endpoints of SSM where a single host needs them."""
    layout = settings.network
    if settings.instance is None:
        return layout
    return replace(layout, endpoints=tuple(dict.fromkeys((*layout.endpoints, *SSM_ENDPOINTS))))
