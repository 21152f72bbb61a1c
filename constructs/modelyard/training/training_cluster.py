"""A cluster that trains on hosts that may vanish."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.images import ContainerImage
from modelyard.permissions import accept, acknowledge, allow, in_one_policy
from modelyard.training.capacity import CapacityPool, host_role
from modelyard.training.containers import ContainerTask
from modelyard.training.hosts import host_key
from modelyard.training.network import TrainingNetwork
from modelyard.training.props import POOLS, Insights, Pool, TrainerSize, TrainingData
from modelyard.training.rendezvous import Rendezvous


class TrainingCluster(Construct):
    """An ECS cluster with hosts that come for jobs, a task definition of the trainer, and a rendezvous.

    Nothing but the rendezvous runs, or costs by the hour, while there is no job. Jobs are started by whoever
    calls `RunTask` with what the attributes name.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        network: Where everything stands.
        image: The trainer's, with `training.vision`.
        rendezvous_image: Of `training.rendezvous` and little else: a new one ends the attempts of all jobs.
            The trainer's by default, so that each change of the trainer does.
        data: Where trainers read and write.
        pools: Hosts, in the order in which a job tries them.
        size: Of one trainer's task, one to a host.
        insights: ECS's Container Insights, whose metrics are paid by number.
        namespace: Of names in the network; another one for each cluster that shares it.
        log_retention: How long logs are kept.

    Attributes:
        cluster: For whoever starts tasks.
        pools: By name.
        capacity_providers: Names of the pools' providers, in the order of `pools`.
        capacity_zones: Which of the network's zones each of them has its hosts in, from 0.
        providers: Ties them and Fargate's to the cluster; services on them wait for it.
        trainer: The trainer's task definition with its roles and log. Who keeps records of jobs lets
            `trainer.task_role` at them.
        trainer_security_group: Of the trainer's tasks: they reach each other and the rendezvous.
        rendezvous: Where they meet.

    Raises:
        ValueError: No pools, two of one name, or one in a zone that the network has not.

    Example:
        >>> cluster = TrainingCluster(stack, "Cluster", network=TrainingNetwork(stack, "Network"),
        ...     image=image, data=TrainingData(bucket=data))
        >>> cluster.capacity_providers

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
    """

    cluster: ecs.ICluster
    pools: dict[str, CapacityPool]
    capacity_providers: list[str]
    capacity_zones: list[int]
    providers: ecs.CfnClusterCapacityProviderAssociations
    trainer: ContainerTask
    trainer_security_group: ec2.SecurityGroup
    rendezvous: Rendezvous

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: TrainingNetwork,
        image: ContainerImage,
        data: TrainingData,
        rendezvous_image: ContainerImage | None = None,
        pools: Sequence[Pool] = POOLS,
        size: TrainerSize | None = None,
        insights: Insights = "enabled",
        namespace: str = "training.local",
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        names = [pool.name for pool in pools]
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"TrainingCluster.pools are {', '.join(names) or 'none'}; give one or more, each another name"
            )
        size = size or TrainerSize()
        cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_settings=[
                ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value=insights)
            ],
        )
        if insights == "disabled":
            reason = "Switched off by the environment; jobs report their own metrics."
            acknowledge(cluster, "AwsSolutions-ECS4", reason)
            accept(cluster, "MYT659", reason)
        self._name, self._arn = cluster.ref, cluster.attr_arn
        self.cluster = ecs.Cluster.from_cluster_attributes(
            self, "Imported", cluster_name=self._name, cluster_arn=self._arn, vpc=network.vpc
        )
        self._add_pools(pools, network, gpu=size.gpus > 0)
        self.rendezvous = Rendezvous(
            self,
            "Rendezvous",
            cluster_name=self._name,
            network=network,
            image=rendezvous_image or image,
            namespace=namespace,
            log_retention=log_retention,
        )
        self.trainer_security_group = network.security_group(self, "TrainerGroup", "Trainers of all jobs")
        # PyTorch takes a free port for each process and each restart.
        every = ec2.Port.all_tcp()
        self.trainer_security_group.add_ingress_rule(
            self.trainer_security_group, every, "Trainers to each other"
        )
        self.trainer_security_group.add_egress_rule(
            self.trainer_security_group, every, "Trainers to each other"
        )
        self.rendezvous.allow_from(self.trainer_security_group)
        self.trainer = self._trainer(image, size, log_retention)
        with in_one_policy(self.trainer.task_role, "Data"):
            data.grant(self.trainer.task_role)

    def grant_run(self, grantee: iam.IGrantable) -> None:
        """Allow starting trainers in this cluster, with their roles, and stopping and describing its tasks.

        Those that `RunTask` starts may not be tagged at once: ECS asks for another right then.
        """
        here = {"ArnEquals": {"ecs:cluster": self._arn}}
        allow(grantee, actions=["ecs:RunTask"], resources=[self.trainer.definition_arn], conditions=here)
        allow(
            grantee,
            actions=["ecs:DescribeTasks", "ecs:StopTask"],
            resources=[arn_in_stack(self, "ecs", f"task/{self._name}/*")],
            reason="Tasks are named when they start; the grant ends at those of this cluster.",
        )
        allow(
            grantee,
            actions=["iam:PassRole"],
            resources=[self.trainer.task_role.role_arn, self.trainer.execution_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        )

    def _add_pools(self, pools: Sequence[Pool], network: TrainingNetwork, *, gpu: bool) -> None:
        group = network.security_group(self, "HostGroup", "Hosts, not their tasks").security_group_id
        role = host_role(self, "HostRole", cluster_name=self._name, cluster_arn=self._arn)
        key_arn = host_key(self, "HostKey").key_arn
        self.pools = {
            pool.name: CapacityPool(
                self,
                f"Pool-{pool.name}",
                pool=pool,
                cluster_name=self._name,
                gpu=gpu,
                network=network,
                security_group_id=group,
                role=role,
                key_arn=key_arn,
            )
            for pool in pools
        }
        self.capacity_providers = [pool.name for pool in self.pools.values()]
        self.capacity_zones = [pool.zone for pool in pools]
        # No default strategy: what is started without saying where, is a mistake.
        self.providers = ecs.CfnClusterCapacityProviderAssociations(
            self,
            "Providers",
            cluster=self._name,
            capacity_providers=["FARGATE", "FARGATE_SPOT", *self.capacity_providers],
            default_capacity_provider_strategy=[],
        )

    def _trainer(
        self, image: ContainerImage, size: TrainerSize, log_retention: logs.RetentionDays
    ) -> ContainerTask:
        part = ecs.CfnTaskDefinition
        gpus = [part.ResourceRequirementProperty(type="GPU", value=str(size.gpus))] if size.gpus else None
        return ContainerTask(
            self,
            "Trainer",
            name="trainer",
            description="Trains models",
            image=image,
            command=["python", "-m", "training.vision.launch"],
            environment={
                "RENDEZVOUS_ENDPOINT": self.rendezvous.address,
                "PROCESSES_PER_HOST": str(size.processes),
                # A dimension of its metrics.
                "TRAINING_CLUSTER": self._name,
            },
            log_retention=log_retention,
            definition={"requires_compatibilities": ["EC2"]},
            container={
                "memory": size.memory_mib,
                "resource_requirements": gpus,
                "linux_parameters": part.LinuxParametersProperty(shared_memory_size=size.shared_memory_mib),
                # A loader holds a file for each batch on its way.
                "ulimits": [part.UlimitProperty(name="nofile", soft_limit=65_536, hard_limit=65_536)],
            },
        )
