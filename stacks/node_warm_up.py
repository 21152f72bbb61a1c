"""Node reads the parts of CDK that every synth needs while Python still imports its own.

Both are lazy, and on two processors they need not wait for each other. Node takes one request at a time, so
that until `join` nothing else may ask it: no module of this app does at its import (tests/synth/test_app.py).
"""

from __future__ import annotations

import threading

import aws_cdk as cdk


def start() -> threading.Thread:
    """Begin; `join` the thread before CDK is used."""
    thread = threading.Thread(target=_use, daemon=True)
    thread.start()
    return thread


def _use() -> None:
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
