"""Training on hosts of the stage's own: a cluster, its jobs, queues that prepare images, a single host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aws_cdk import CfnOutput
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.build_context import BuildContext
from modelyard.images import ContainerImage
from modelyard.permissions import accept, in_one_policy
from modelyard.storage import IDataBucket
from modelyard.training import (
    HostPool,
    ImageFolder,
    Ledger,
    PreprocessingQueue,
    Registration,
    TrainerTask,
    TrainingCluster,
    TrainingData,
    TrainingJobs,
    TrainingMonitoring,
    TrainingNetwork,
)
from modelyard.training.props import SSM_ENDPOINTS, NetworkLayout
from pipeline_defs.code import REPO
from stacks.alarm_topic import AlarmTopic
from stacks.environments import Environment
from stacks.stage_stack import StageStack
from stacks.training_settings import JOBS, TrainingSettings

if TYPE_CHECKING:
    from modelyard.training import TrainingInstance

TRAINER_IMAGE, WORKER_IMAGE = "cluster.Dockerfile", "preprocessing.Dockerfile"
RENDEZVOUS_IMAGE = "rendezvous.Dockerfile"
# Folders of the data bucket. Trainers read datasets, and nothing that was not prepared.
UPLOADS, DATASETS = "uploads/", "datasets/"


class TrainingStack(StageStack):
    """What an environment's section `training` asks for. With a `registration` jobs may have their models
    registered.

    Attributes:
        network: Isolated subnets and endpoints.
        cluster: ECS cluster, its hosts, the trainer and the rendezvous.
        jobs: The queue of jobs, and what sees each through.
        monitoring: Dashboard and alarms of all of them.
        queues: Queues by dataset.
        instance: A single host, None where the stage has none.

    Raises:
        ValueError: The environment has no such section.
    """

    network: TrainingNetwork
    cluster: TrainingCluster
    jobs: TrainingJobs
    monitoring: TrainingMonitoring
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
        registration: Registration | None = None,
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
        if not settings.network.endpoints:
            accept(
                self.network.node.find_child("Vpc"),
                "MYT663",
                "For a local cloud, whose tasks reach its services themselves; on AWS they would not.",
            )
        image = self._image(TRAINER_IMAGE, "trainer image")
        places = TrainingData(bucket=data, datasets=DATASETS, jobs=JOBS)
        self.cluster = TrainingCluster(
            self,
            "Cluster",
            network=self.network,
            image=image,
            data=places,
            rendezvous_image=self._image(RENDEZVOUS_IMAGE, "rendezvous image"),
            pools=settings.pools,
            size=settings.size,
            insights=settings.insights,
        )
        self.instance = self._instance(settings, image, places)
        self.jobs = self._jobs(settings, environment, places, registration)
        self.queues = self._queues(settings, environment, data)
        cluster_name = self.cluster.cluster.cluster_name
        self.monitoring = TrainingMonitoring(
            self,
            "Monitoring",
            cluster=cluster_name,
            log_group=self.cluster.trainer.log_group,
            queues={dataset: queue.events for dataset, queue in self.queues.items()},
        )
        if alarm_topic:
            told = self.monitoring
            alarm_topic.hear(self.jobs.alarms)
            alarm_topic.hear([told.stall, told.non_finite, told.goodput, told.checkpoint])
            for queue in self.queues.values():
                alarm_topic.hear([queue.events.letters, queue.events.waits, queue.quarantine])
        self._tell(cluster_name)

    def grant_use(self, grantee: iam.IGrantable, data: IDataBucket) -> None:
        """Allow uploading images, writing manifests of datasets, asking for jobs, reading what they made and
        said."""
        data.grant_read(grantee, JOBS)
        self.jobs.grant_submit(grantee)
        self.cluster.trainer.grant_read_log(grantee)
        if self.instance:
            self.instance.grant_read_log(grantee)
        for queue in self.queues.values():
            queue.grant_use(grantee)

    def _image(self, dockerfile: str, name: str) -> ContainerImage:
        context = BuildContext(folder=REPO / "training", dockerfile=dockerfile)
        return ContainerImage.build(self, context, name=name)

    def _jobs(
        self,
        settings: TrainingSettings,
        environment: Environment,
        places: TrainingData,
        registration: Registration | None,
    ) -> TrainingJobs:
        trainer = self.cluster.trainer
        jobs = TrainingJobs(
            self,
            "Jobs",
            name=environment.named("training-jobs"),
            cluster=self.cluster.cluster,
            task=TrainerTask(
                task_definition_arn=trainer.definition_arn,
                container=trainer.container_name,
                role_arns=[trainer.task_role.role_arn, trainer.execution_role.role_arn],
                processes=settings.size.processes,
                output_uri=places.jobs_uri,
                rendezvous_endpoint=self.cluster.rendezvous.address,
            ),
            pool=HostPool(
                # A job has all its hosts from one pool.
                slots=max(pool.max_hosts for pool in settings.pools),
                subnets=self.network.subnet_ids,
                security_groups=[self.cluster.trainer_security_group.security_group_id],
                capacity_providers=self.cluster.capacity_providers,
                zones=self.cluster.capacity_zones,
                price_usd=settings.host_price_usd,
            ),
            pace=settings.pace,
            registration=registration,
            instance=self.instance,
            retention=environment.data.retention,
        )
        with in_one_policy(trainer.task_role, "Report"):
            jobs.records.grant_report(trainer.task_role)
        return jobs

    def _instance(
        self, settings: TrainingSettings, image: ContainerImage, places: TrainingData
    ) -> TrainingInstance | None:
        if settings.instance is None:
            return None
        # Here, since loading it costs every synth, and most stages have none.
        from modelyard.training import TrainingInstance

        return TrainingInstance(
            self,
            "Instance",
            network=self.network,
            image=image,
            data=places,
            size=settings.instance,
            gpu=settings.size.gpus > 0,
            processes=settings.size.processes,
        )

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
                collection=settings.collection,
                ledger=ledger,
            )
            # ECS refuses a service on providers that its cluster has not yet.
            queue.service.node.add_dependency(self.cluster.providers)
            queues[dataset.name] = queue
        return queues

    def _tell(self, cluster_name: str) -> None:
        """What `modelyard train`, `aws ecs run-task` and `aws stepfunctions start-execution` want to know."""
        outputs = {
            "JobsQueueUrl": self.jobs.queue.queue_url,
            "JobsTableName": self.jobs.records.table.table_name,
            "ClusterName": cluster_name,
            "TrainerLogGroup": self.cluster.trainer.log_group_name,
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
            outputs["InstanceLogGroup"] = self.instance.log_group.log_group_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _layout(settings: TrainingSettings) -> NetworkLayout:
    """With the endpoints of SSM where a single host needs them; not on a local cloud, which needs none."""
    layout = settings.network
    if settings.instance is None or not layout.endpoints:
        return layout
    return replace(layout, endpoints=tuple(dict.fromkeys((*layout.endpoints, *SSM_ENDPOINTS))))
