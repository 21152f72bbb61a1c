"""Networks: security groups, endpoints, hosts.

https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, listed, number, objects, part

_WORLD = ("0.0.0.0/0", "::/0")
_PUBLIC_PORTS = ({80}, {443})


def _rules(template: Template) -> Iterator[tuple[Resource, str, dict[str, Any]]]:
    for group in template.of("AWS::EC2::SecurityGroup"):
        for index, rule in enumerate(objects(group.properties.get("SecurityGroupIngress"))):
            yield group, f"SecurityGroupIngress[{index}]", rule
    for ingress in template.of("AWS::EC2::SecurityGroupIngress"):
        yield ingress, "CidrIp", ingress.properties


@template_rule(
    "MYT661", "A port that is open to the world", "Name the security group or the range that needs it."
)
def _open(template: Template) -> Hits:
    for resource, path, rule in _rules(template):
        ports = {number(rule.get("FromPort")), number(rule.get("ToPort"))}
        if (rule.get("CidrIp") in _WORLD or rule.get("CidrIpv6") in _WORLD) and ports not in _PUBLIC_PORTS:
            yield (
                resource.at(path),
                f"{rule.get('IpProtocol')} {rule.get('FromPort', 'all')} to "
                f"{rule.get('ToPort', 'all')} from anywhere",
            )
        low, high = number(rule.get("FromPort")), number(rule.get("ToPort"))
        if (
            low is not None
            and high is not None
            and low > high
            and str(rule.get("IpProtocol")) in ("tcp", "udp")
        ):
            yield resource.at(path), f"from port {low:g} to {high:g}"


@template_rule(
    "MYT662",
    "A host whose credentials a request can steal, or whose disk is readable",
    "HttpTokens required, volumes encrypted, no public address.",
)
def _hosts(template: Template) -> Hits:
    for launch in template.of("AWS::EC2::LaunchTemplate"):
        data = launch.properties.get("LaunchTemplateData") or {}
        if part(data, "MetadataOptions", "HttpTokens") != "required":
            yield launch.at("LaunchTemplateData.MetadataOptions"), Advice("HttpTokens is not required")
        yield from _disks(launch, "LaunchTemplateData.BlockDeviceMappings", data)
        if any(
            i.get("AssociatePublicIpAddress") in (True, "true")
            for i in objects(data.get("NetworkInterfaces"))
        ):
            yield launch.at("LaunchTemplateData.NetworkInterfaces"), "gives a public address"
    for host in template.of("AWS::EC2::Instance", "AWS::AutoScaling::LaunchConfiguration"):
        yield from _disks(host, "BlockDeviceMappings", host.properties)
        if host.properties.get("AssociatePublicIpAddress") in (True, "true"):
            yield host.at("AssociatePublicIpAddress"), "is true"


def _disks(resource: Resource, path: str, holder: dict[str, Any]) -> Hits:
    for index, mapping in enumerate(objects(holder.get("BlockDeviceMappings"))):
        if "Ebs" in mapping and part(mapping, "Ebs", "Encrypted") not in (True, "true"):
            yield resource.at(f"{path}[{index}]"), Advice("Encrypted is not set")


@template_rule(
    "MYT663",
    "Isolated subnets without the endpoints that work in them needs",
    "Add the endpoints: ECR's api and dkr with S3 to pull, logs to log, sagemaker.runtime to invoke.",
)
def _endpoints(template: Template) -> Hits:
    out = any(
        True
        for _ in template.assembly.of(
            "AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::TransitGatewayAttachment"
        )
    )
    endpoints = [str(e.properties.get("ServiceName")) for e in template.assembly.of("AWS::EC2::VPCEndpoint")]
    if out or not endpoints or not any(True for _ in template.assembly.of("AWS::ECS::TaskDefinition")):
        return
    wanted = {"ecr.api": "pull images", "ecr.dkr": "pull images", "s3": "pull images", "logs": "log"}
    for vpc in template.of("AWS::EC2::VPC"):
        for service, purpose in wanted.items():
            if not any(re.search(rf"[.}}]{re.escape(service)}$", name) for name in endpoints):
                yield vpc.at(), f"has neither a way out nor an endpoint for {service}: tasks cannot {purpose}"


@template_rule(
    "MYT664",
    "A VPC endpoint of the wrong type, or that nobody resolves",
    "S3 and DynamoDB: Gateway with route tables; others: Interface with subnets, a security group "
    "and PrivateDnsEnabled.",
)
def _types(template: Template) -> Hits:
    for endpoint in template.of("AWS::EC2::VPCEndpoint"):
        p = endpoint.properties
        kind, service = p.get("VpcEndpointType", "Gateway"), str(p.get("ServiceName")).rsplit(".", 1)[-1]
        if kind == "Gateway" and service not in ("s3", "dynamodb", "s3express"):
            yield endpoint.at("VpcEndpointType"), f"there is no gateway to {service}"
        if kind == "Gateway" and not listed(p.get("RouteTableIds")):
            yield endpoint.at("RouteTableIds"), "is empty: no subnet uses it"
        if kind == "Interface" and not listed(p.get("SubnetIds")):
            yield endpoint.at("SubnetIds"), "is empty"
        if (
            kind == "Interface"
            and service not in ("s3", "dynamodb")
            and p.get("PrivateDnsEnabled") not in (True, "true")
        ):
            yield (
                endpoint.at("PrivateDnsEnabled"),
                Advice("is not set: clients keep using the public address"),
            )
    for vpc in template.of("AWS::EC2::VPC"):
        if any(
            vpc.properties.get(m) in (False, "false") for m in ("EnableDnsSupport", "EnableDnsHostnames")
        ) and any(
            e.properties.get("PrivateDnsEnabled") in (True, "true")
            for e in template.assembly.of("AWS::EC2::VPCEndpoint")
        ):
            yield vpc.at("EnableDnsSupport"), "is off, while endpoints rely on private DNS"
