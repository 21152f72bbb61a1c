"""Entry point: one reconcile for every group that the event concerns."""

import os
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.invoke import CONFIG, Invoker
from modelyard.runtime.log import log
from modelyard.runtime.metrics import COUNT, DEPLOYER, ENDPOINT, FAILED, RECORD_AGE, SECONDS, emit

from .aws_artifacts import S3Artifacts
from .aws_endpoint import SageMakerEndpoint
from .aws_metrics import CloudWatchMetrics
from .aws_records import DynamoRecords
from .aws_registry import SageMakerRegistry
from .errors import ReconcileError
from .events import ONLY_IF_DUE, groups_of
from .garbage import parsed
from .ports import Ports
from .reconcile import is_due, reconcile, utc_now
from .record import Record
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
    metrics=CloudWatchMetrics(boto3.client("cloudwatch")),
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
            record = _visit(group, only_if_due=bool(event.get(ONLY_IF_DUE)))
            serving[group] = record.serving.version if record.serving else None
        except (ReconcileError, ClientError, BotoCoreError) as error:
            log("reconcile failed", group=group, error=str(error))
            _measure(group, FAILED, 1, COUNT)
            problems.append(str(error))
    if problems:
        raise ReconcileError("; ".join(problems))
    return {"serving": serving}


def _visit(group: str, *, only_if_due: bool) -> Record:
    if only_if_due:
        record, now = PORTS.records.read(group), utc_now()
        if record.updated:
            age = (parsed(now) - parsed(record.updated)).total_seconds()
            _measure(group, RECORD_AGE, age, SECONDS)
        if not is_due(record, SETTINGS, now):
            return record
    record = reconcile(group, PORTS, SETTINGS)
    _measure(group, FAILED, 0, COUNT)
    return record


def _measure(group: str, name: str, value: float, unit: str) -> None:
    emit(DEPLOYER, {ENDPOINT: SETTINGS.endpoint_name}, {name: (value, unit)}, group=group)
