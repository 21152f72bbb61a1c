"""What makes `python app.py` quick: the app's entry point alone calls it, tests and other apps do not.

- Nothing is collected: the process ends before that pays, and importing makes it work most. A tenth of a
  synth.
- jsii does not check the type of every argument: mypy has, the tests run with these checks, and Node refuses
  what is left. Another tenth. CDK's own switch is `python -O`, which whoever runs the app would have to know.
- Node reads the parts of CDK that every synth needs while Python still imports its own. Both are lazy, and on
  two processors they need not wait for each other. Node takes one request at a time, so that until `join`
  nothing else may ask it: no module of this app does at its import (tests/synth/test_app.py).
- Between Python and jsii's kernel in Node is another Node, which hands on every message. It is left out
  (`direct_kernel.js`), which saves a seventh of a synth; with another version of jsii it stays.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsii._embedded.jsii as kernel
from jsii import __jsii_runtime_version__, _type_checking

if TYPE_CHECKING:
    import aws_cdk as cdk

# Whose kernel `direct_kernel.js` knows.
_JSII = "1.142.0"
_DIRECT = {
    "JSII_RUNTIME": str(Path(__file__).with_name("direct_kernel.js")),
    "JSII_KERNEL": str(Path(kernel.__file__).parent),
    "NODE_OPTIONS": "--preserve-symlinks",
}


def begin() -> threading.Thread:
    """Call it before anything imports `aws_cdk`; `join` the thread before CDK is used."""
    gc.disable()
    _trust_types()
    _without_relay()
    thread = threading.Thread(target=_warm_up, daemon=True)
    thread.start()
    return thread


def load_training() -> None:
    """Import the training stack, while Node reads what that alone needs; before anything asks Node."""
    thread = threading.Thread(target=_warm_up_training, daemon=True)
    thread.start()
    import stacks.training_stack  # noqa: F401

    thread.join()


def _without_relay() -> None:
    """Say so where jsii reads it when it starts Node, with the first import of `aws_cdk`."""
    if __jsii_runtime_version__ == _JSII and not os.environ.keys() & _DIRECT.keys():
        os.environ |= _DIRECT


def _forget_relay() -> None:
    """Once Node has started: other programs that this one may start do without."""
    for name, value in _DIRECT.items():
        if os.environ.get(name) == value:
            del os.environ[name]


def _trust_types() -> None:
    """CDK's modules take these two from there by name when they are imported."""

    def check_type(**_: Any) -> None:
        pass

    def hints(_: Callable[..., Any]) -> Mapping[str, Any]:
        return _NONE

    _type_checking.check_type = check_type  # type: ignore[assignment]
    _type_checking.cached_type_hints = hints  # type: ignore[assignment]


class _Nothing(dict[str, Any]):
    """Has no type for any name."""

    def __missing__(self, _: str) -> None:
        return None


_NONE = _Nothing()


def _stack() -> cdk.Stack:
    import aws_cdk as cdk

    # Nobody synthesizes this app: it goes with the process.
    app = cdk.App(auto_synth=False, tree_metadata=False, stack_traces=False)
    return cdk.Stack(app, "WarmUp")


def _warm_up() -> None:
    stack = _stack()
    _forget_relay()
    from aws_cdk import aws_s3 as s3

    s3.Bucket(stack, "Bucket", encryption=s3.BucketEncryption.KMS, enforce_ssl=True)
    from aws_cdk import aws_sagemaker as sagemaker

    sagemaker.CfnModelPackageGroup(stack, "Group", model_package_group_name="none")
    from aws_cdk import aws_iam as iam

    iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_logs as logs

    lambda_.Function(
        stack,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_14,
        handler="none",
        code=lambda_.Code.from_inline("none"),
        log_group=logs.LogGroup(stack, "Logs"),
    )
    from aws_cdk import aws_dynamodb as dynamodb

    dynamodb.Table(
        stack,
        "Table",
        partition_key=dynamodb.Attribute(name="none", type=dynamodb.AttributeType.STRING),
    )
    from aws_cdk import aws_events as events
    from aws_cdk import aws_sqs as sqs

    sqs.Queue(stack, "Queue")
    events.Rule(stack, "Rule", event_pattern=events.EventPattern(source=["none"]))


def _warm_up_training() -> None:
    stack = _stack()
    from aws_cdk import aws_ec2 as ec2

    network = ec2.CfnVPC(stack, "Network", cidr_block="10.0.0.0/16")
    vpc = ec2.Vpc.from_vpc_attributes(stack, "Vpc", vpc_id=network.ref, availability_zones=["none"])
    group = ec2.SecurityGroup(stack, "Group", vpc=vpc, allow_all_outbound=False)
    group.add_ingress_rule(ec2.Peer.ipv4("10.0.0.0/16"), ec2.Port.tcp(443))
    _ = group.security_group_id
    from aws_cdk import aws_ecs as ecs

    ecs.CfnCluster(stack, "Cluster")
    ecs.Cluster.from_cluster_attributes(stack, "Imported", cluster_name="none", vpc=vpc)
    from aws_cdk import aws_autoscaling as autoscaling

    autoscaling.CfnAutoScalingGroup(stack, "Hosts", min_size="0", max_size="0")
    from aws_cdk import aws_servicediscovery as discovery

    discovery.CfnPrivateDnsNamespace(stack, "Names", name="none", vpc=network.ref)
    from aws_cdk import aws_stepfunctions as stepfunctions

    stepfunctions.CfnStateMachine(stack, "Machine", role_arn="none")
