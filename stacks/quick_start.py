"""What makes `python app.py` quick: the app's entry point alone calls it, tests and other apps do not.

- Nothing is collected: the process ends before that pays, and importing makes it work most. A tenth of a
  synth.
- jsii does not check the type of every argument: mypy has, the tests run with these checks, and Node refuses
  what is left. Another tenth. CDK's own switch is `python -O`, which whoever runs the app would have to know.
- Node reads the parts of CDK that every synth needs while Python still imports its own. Both are lazy, and on
  two processors they need not wait for each other. Node takes one request at a time, so that until `join`
  nothing else may ask it: no module of this app does at its import (tests/synth/test_app.py).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jsii import _type_checking


def begin() -> threading.Thread:
    """Call it before anything imports `aws_cdk`; `join` the thread before CDK is used."""
    gc.disable()
    _trust_types()
    thread = threading.Thread(target=_warm_up, daemon=True)
    thread.start()
    return thread


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


def _warm_up() -> None:
    import aws_cdk as cdk

    # Nobody synthesizes this app: it goes with the process.
    app = cdk.App(auto_synth=False, tree_metadata=False, stack_traces=False)
    stack = cdk.Stack(app, "WarmUp")
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
