"""A network without a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.training import NetworkLayout, TrainingNetwork
from modelyard.training.props import ENDPOINTS
from tests.synth.training_support import Built, flat


@pytest.fixture
def network(stack):
    return TrainingNetwork(stack, "Network")


def test_there_is_no_way_out(stack, network):
    built = Built(stack)
    for kind in ("InternetGateway", "NatGateway", "Route", "EIP", "EgressOnlyInternetGateway"):
        assert built.of(f"EC2::{kind}") == []
    assert all(subnet["MapPublicIpOnLaunch"] is False for subnet in built.of("EC2::Subnet"))


def test_two_zones_that_do_not_overlap(stack, network):
    subnets = Built(stack).of("EC2::Subnet")
    assert [subnet["CidrBlock"] for subnet in subnets] == ["10.60.0.0/20", "10.60.16.0/20"]
    assert [subnet["AvailabilityZone"] for subnet in subnets] == [
        {"Fn::Select": [place, {"Fn::GetAZs": ""}]} for place in (0, 1)
    ]


def test_synthesis_asks_no_account(new_app):
    """CDK's own network would want the zones of an account that is named."""
    import aws_cdk as cdk

    app = new_app()
    place = cdk.Environment(account="111122223333", region="eu-west-1")
    TrainingNetwork(cdk.Stack(app, "Test", env=place), "Network")
    manifest = Path(app.synth().directory) / "manifest.json"
    assert "missing" not in json.loads(manifest.read_text())


def test_gateways_and_endpoints(stack, network):
    built = Built(stack)
    kinds = {}
    for endpoint in built.of("EC2::VPCEndpoint"):
        kinds.setdefault(endpoint["VpcEndpointType"], []).append(flat(endpoint["ServiceName"]))
    assert kinds["Gateway"] == [f"com.amazonaws.<AWS::Region>.{name}" for name in ("s3", "dynamodb")]
    assert kinds["Interface"] == [f"com.amazonaws.<AWS::Region>.{name}" for name in ENDPOINTS]
    for endpoint in built.of("EC2::VPCEndpoint"):
        if endpoint["VpcEndpointType"] == "Interface":
            assert endpoint["PrivateDnsEnabled"] is True
            assert len(endpoint["SubnetIds"]) == 2
        else:
            assert endpoint["RouteTableIds"]


def test_endpoints_take_tls_from_within(stack, network):
    group = Built(stack).one("EC2::SecurityGroup", "Endpoints")
    (rule,) = group["SecurityGroupIngress"]
    assert (rule["CidrIp"], rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
        "10.60.0.0/16",
        "tcp",
        443,
        443,
    )


def test_a_group_of_the_network_lets_nothing_in_and_tls_out(stack, network):
    network.security_group(stack, "Workers", "What works")
    group = Built(stack).one("EC2::SecurityGroup", "Workers")
    assert "SecurityGroupIngress" not in group
    (rule,) = group["SecurityGroupEgress"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)


def test_refused_connections_are_logged_for_a_while(stack, network):
    built = Built(stack)
    assert built.one("EC2::FlowLog")["TrafficType"] == "REJECT"
    assert built.one("Logs::LogGroup")["RetentionInDays"] == 30
    assert built.actions("FlowLogsRole") == {
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
    }


def test_other_layouts(stack):
    layout = NetworkLayout(cidr="10.1.0.0/24", zones=3, endpoints=("logs",))
    TrainingNetwork(stack, "Network", layout=layout)
    built = Built(stack)
    assert [subnet["CidrBlock"] for subnet in built.of("EC2::Subnet")] == [
        "10.1.0.0/28",
        "10.1.0.16/28",
        "10.1.0.32/28",
    ]
    assert len(built.of("EC2::VPCEndpoint")) == 3


@pytest.mark.parametrize(
    ("zones", "member"),
    [(("eu-west-1b", "eu-west-1c"), "AvailabilityZone"), (("euw1-az3", "euw1-az1"), "AvailabilityZoneId")],
)
def test_zones_that_are_named_are_taken_in_their_order(stack, zones, member):
    """Not every zone offers every type with GPUs."""
    network = TrainingNetwork(stack, "Network", layout=NetworkLayout(zones=zones))
    resolved = stack.resolve(network.vpc.availability_zones)
    subnets = Built(stack).of("EC2::Subnet")
    assert [subnet[member] for subnet in subnets] == list(zones)
    other = {"AvailabilityZone", "AvailabilityZoneId"} - {member}
    assert not any(other & subnet.keys() for subnet in subnets)
    if member == "AvailabilityZone":
        assert resolved == list(zones)
    else:
        assert [flat(zone).partition(".")[2] for zone in resolved] == ["AvailabilityZone>"] * 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cidr": "10.0.0.1/16"}, "no IPv4 range"),
        ({"cidr": "somewhere"}, "no IPv4 range"),
        ({"cidr": "10.0.0.0/25"}, "must be a /16 to a /24"),
        ({"cidr": "10.0.0.0/8"}, "must be a /16 to a /24"),
        ({"zones": 0}, "give 1 to 3"),
        ({"zones": 4}, "give 1 to 3"),
        ({"zones": "eu-west-1a"}, "give all by name"),
        ({"zones": ("eu-west-1a", "euw1-az2")}, "give all by name"),
        ({"zones": ("a",)}, "give all by name"),
        ({"zones": ()}, "give 1 to 6, each once"),
        ({"zones": ("eu-west-1a", "eu-west-1a")}, "give 1 to 6, each once"),
    ],
)
def test_bad_layouts_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        NetworkLayout(**settings)
