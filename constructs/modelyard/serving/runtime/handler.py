"""Entry point: one reconcile for every group that the event concerns."""

import os
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.invoke import CONFIG, Invoker
from modelyard.runtime.log import log

from .aws import DynamoRecords, S3Artifacts, SageMakerEndpoint, SageMakerRegistry
from .errors import ReconcileError
from .events import groups_of
from .ports import Ports
from .reconcile import reconcile
from .settings import Settings

SETTINGS = Settings.from_environment(os.environ)
PORTS = Ports(
    registry=SageMakerRegistry(boto3.client("sagemaker")),
    records=DynamoRecords(boto3.client("dynamodb"), SETTINGS.table_name),
    artifacts=S3Artifacts(boto3.client("s3"), SETTINGS),
    endpoint=SageMakerEndpoint(
        Invoker(boto3.client("sagemaker-runtime", config=CONFIG), SETTINGS.endpoint_name),
        SETTINGS.replay_seconds,
    ),
)


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Returns the version that serves, by group.

    Raises ReconcileError when any group is not as the registry wants it, after all had their turn.
    """
    del context
    serving: dict[str, int | None] = {}
    problems: list[str] = []
    for group in groups_of(event, SETTINGS.groups):
        try:
            record = reconcile(group, PORTS, max_unpacked=SETTINGS.max_unpacked_bytes)
            serving[group] = record.serving.version if record.serving else None
        except (ReconcileError, ClientError, BotoCoreError) as error:
            log("reconcile failed", group=group, error=str(error))
            problems.append(str(error))
    if problems:
        raise ReconcileError("; ".join(problems))
    return {"serving": serving}
