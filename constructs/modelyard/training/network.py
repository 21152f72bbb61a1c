"""A network without a way out: subnets, and endpoints of the services that training needs."""

from __future__ import annotations

import functools

from aws_cdk import CfnTag, Fn, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard.arns import inherit_stack, region_of
from modelyard.permissions import allow, in_one_policy, service_principal
from modelyard.training.props import NetworkLayout

GATEWAYS = ("s3", "dynamodb")


class TrainingNetwork(Construct):
    """Isolated subnets, gateways to S3 and DynamoDB, and interface endpoints that take TLS from within.

    No NAT and no internet gateway: what runs in it reaches the services named, and nothing else. Made of
    CloudFormation's own resources, since CDK's `Vpc` asks the account for its zones at synthesis, and makes a
    function that empties a security group that nothing uses.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        layout: Addresses, zones and endpoints.
        log_retention: How long the flow logs of refused connections are kept.

    Attributes:
        vpc: The network, for constructs that want one.
        subnet_ids: Of the subnets, one per zone.
        cidr: Its range.
        endpoint_security_group: Lets TLS in from the network.

    Example:
        >>> network = TrainingNetwork(stack, "Network")
        >>> group = network.security_group(stack, "Workers", "What works")

    See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/vpc-endpoints.html
    """

    vpc: ec2.IVpc
    subnet_ids: list[str]
    cidr: str
    endpoint_security_group: ec2.SecurityGroup

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        layout: NetworkLayout | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        layout = layout or NetworkLayout()
        self.cidr = layout.cidr
        name = [CfnTag(key="Name", value=self.node.path)]
        network = ec2.CfnVPC(
            self,
            "Vpc",
            cidr_block=layout.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=name,
        )
        vpc_id, zones = network.ref, _places(layout)
        routes = ec2.CfnRouteTable(self, "Routes", vpc_id=vpc_id, tags=name).ref
        subnets = []
        for place, (where, block) in enumerate(zip(zones, layout.subnets, strict=True)):
            subnet = ec2.CfnSubnet(
                self,
                f"Subnet{place}",
                vpc_id=vpc_id,
                cidr_block=block,
                availability_zone=where.get("availability_zone"),
                availability_zone_id=where.get("availability_zone_id"),
                map_public_ip_on_launch=False,
                tags=name,
            )
            subnets.append(subnet.ref)
            if layout.zone_ids:
                where["availability_zone"] = subnet.attr_availability_zone
            ec2.CfnSubnetRouteTableAssociation(
                self, f"Routes{place}", subnet_id=subnets[-1], route_table_id=routes
            )
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Imported",
            vpc_id=vpc_id,
            vpc_cidr_block=layout.cidr,
            availability_zones=[where["availability_zone"] for where in zones],
            isolated_subnet_ids=subnets,
            isolated_subnet_route_table_ids=[routes] * len(subnets),
        )
        self.subnet_ids = subnets
        self.endpoint_security_group = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=self.vpc,
            description="Endpoints: TLS from the network",
            allow_all_outbound=False,
        )
        self.endpoint_security_group.add_ingress_rule(
            ec2.Peer.ipv4(layout.cidr), _tls(), "TLS from the network"
        )
        tls_in = [self.endpoint_security_group.security_group_id]
        services = f"com.amazonaws.{region_of(self)}"
        for service in GATEWAYS:
            ec2.CfnVPCEndpoint(
                self,
                _id(service),
                vpc_id=vpc_id,
                service_name=f"{services}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=[routes],
            )
        for service in layout.endpoints:
            ec2.CfnVPCEndpoint(
                self,
                _id(service),
                vpc_id=vpc_id,
                service_name=f"{services}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnets,
                security_group_ids=tls_in,
            )
        self._log_refusals(vpc_id, log_retention)

    def security_group(self, scope: Construct, construct_id: str, description: str) -> ec2.SecurityGroup:
        """A security group that lets nothing in, and out only TLS: to the endpoints and through the gateways,
        since there is no other way out."""
        group = ec2.SecurityGroup(
            scope, construct_id, vpc=self.vpc, description=description, allow_all_outbound=False
        )
        group.add_egress_rule(_anywhere(), _tls(), "TLS to the services")
        return group

    def _log_refusals(self, vpc_id: str, retention: logs.RetentionDays) -> None:
        group = logs.LogGroup(self, "FlowLogs", retention=retention, removal_policy=RemovalPolicy.DESTROY)
        role = iam.Role(
            self,
            "FlowLogsRole",
            description="Writes the network's flow logs",
            assumed_by=service_principal("vpc-flow-logs"),
        )
        inherit_stack(role, self)
        arn = group.log_group_arn
        with in_one_policy(role, "Permissions") as permissions:
            allow(
                role,
                actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                resources=[arn],
            )
        log = ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=vpc_id,
            resource_type="VPC",
            # Accepted ones would be most of the volume, and are the work itself.
            traffic_type="REJECT",
            deliver_logs_permission_arn=role.role_arn,
            log_destination_type="cloud-watch-logs",
            log_group_name=group.log_group_name,
        )
        if permissions.policy:
            log.node.add_dependency(permissions.policy)


@functools.cache
def _anywhere() -> ec2.IPeer:
    return ec2.Peer.any_ipv4()


@functools.cache
def _tls() -> ec2.Port:
    return ec2.Port.tcp(443)


def _places(layout: NetworkLayout) -> list[dict[str, str]]:
    """Where each subnet lies, as the subnet is told."""
    if isinstance(layout.zones, int):
        every = Fn.get_azs()
        return [{"availability_zone": Fn.select(place, every)} for place in range(layout.zones)]
    member = "availability_zone_id" if layout.zone_ids else "availability_zone"
    return [{member: zone} for zone in layout.zones]


def _id(service: str) -> str:
    """`ecr.api` -> `EcrApiEndpoint`."""
    return "".join(part.capitalize() for part in service.replace("-", ".").split(".")) + "Endpoint"
