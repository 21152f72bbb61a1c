"""Where the hosts of a job find each other."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from aws_cdk import aws_servicediscovery as discovery
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.images import ContainerImage
from modelyard.training.containers import ContainerTask
from modelyard.training.network import TrainingNetwork

PORT = 29400
_NAME = "rendezvous"
# How long a name server may remember the address of a store that has been replaced.
_TTL_SECONDS = 5


class Rendezvous(Construct):
    """A service of one small task that holds PyTorch's store, under a name in the network.

    No host of a job holds it, so that any host may die. Never two of them at once, not even while one is
    replaced: hosts that ask different stores wait for each other for ever. A job whose store dies starts
    again from its checkpoint, as often as it takes: its hosts wait for the next store for ten minutes each
    time. Whatever changes the task replaces the store, and so ends all jobs' attempts: give it an image of
    its own, that changes seldom.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        cluster_name: Where the service runs.
        network: Likewise.
        image: With `training.rendezvous`.
        namespace: Of names in the network.
        log_retention: How long its log is kept.

    Attributes:
        address: `host:port`.
        security_group: Of the task; trainers are let in by `allow_from`.
        service: The service.
        task: What it runs.

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-discovery.html
    """

    address: str
    security_group: ec2.SecurityGroup
    service: ecs.CfnService
    task: ContainerTask

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        network: TrainingNetwork,
        image: ContainerImage,
        namespace: str,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        self.address = f"{_NAME}.{namespace}:{PORT}"
        self.security_group = network.security_group(self, "Group", "Rendezvous of training hosts")
        names = discovery.CfnPrivateDnsNamespace(
            self,
            "Namespace",
            name=namespace,
            vpc=network.vpc.vpc_id,
            description="Names in the training network",
        )
        registry = discovery.CfnService(
            self,
            "Name",
            name=_NAME,
            dns_config=discovery.CfnService.DnsConfigProperty(
                namespace_id=names.attr_id,
                routing_policy="MULTIVALUE",
                dns_records=[discovery.CfnService.DnsRecordProperty(type="A", ttl=_TTL_SECONDS)],
            ),
            health_check_custom_config=discovery.CfnService.HealthCheckCustomConfigProperty(
                failure_threshold=1
            ),
        )
        self.task = ContainerTask(
            self,
            "Task",
            name=_NAME,
            description="Holds the store in which training hosts meet",
            image=image,
            # At its own address: whatever else runs beside it may use the port too.
            command=["python", "-m", "training.rendezvous", "--port", str(PORT), "--own-address"],
            environment={},
            log_retention=log_retention,
            # Half a CPU: loading PyTorch is nearly all it does, and hosts wait for that.
            definition={"requires_compatibilities": ["FARGATE"], "cpu": "512", "memory": "1024"},
            container={
                "port_mappings": [ecs.CfnTaskDefinition.PortMappingProperty(container_port=PORT)],
            },
        )
        service = ecs.CfnService
        self.service = service(
            self,
            "Service",
            cluster=cluster_name,
            task_definition=self.task.definition_arn,
            launch_type="FARGATE",
            desired_count=1,
            # The old one ends before the new one starts.
            deployment_configuration=service.DeploymentConfigurationProperty(
                minimum_healthy_percent=0,
                maximum_percent=100,
                deployment_circuit_breaker=service.DeploymentCircuitBreakerProperty(
                    enable=True, rollback=True
                ),
            ),
            # It would start a second one to move the first.
            availability_zone_rebalancing="DISABLED",
            network_configuration=service.NetworkConfigurationProperty(
                awsvpc_configuration=service.AwsVpcConfigurationProperty(
                    subnets=network.subnet_ids,
                    security_groups=[self.security_group.security_group_id],
                    assign_public_ip="DISABLED",
                )
            ),
            service_registries=[service.ServiceRegistryProperty(registry_arn=registry.attr_arn)],
        )

    def allow_from(self, group: ec2.ISecurityGroup) -> None:
        """Let `group` reach the store, in both groups' rules."""
        self.security_group.add_ingress_rule(group, ec2.Port.tcp(PORT), "Training hosts to the store")
        group.add_egress_rule(self.security_group, ec2.Port.tcp(PORT), "Training hosts to the store")
