"""Entry point of the function behind the jobs queue."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import boto3

from modelyard.runtime.log import log

from .aws_executions import StepFunctions
from .aws_table import DynamoJobs
from .errors import RequestError
from .intake import accept
from .settings import Settings

SETTINGS = Settings.from_environment(os.environ)
JOBS = DynamoJobs(boto3.client("dynamodb"), SETTINGS.table_name)
EXECUTIONS = StepFunctions(boto3.client("stepfunctions"), SETTINGS.state_machine_arn)
SQS = boto3.client("sqs")
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REASON_CHARACTERS = 1000


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Takes messages of the queue; names those that are to be delivered again.

    What can never be done is put aside with its reason, and is not delivered again.
    """
    del context
    failed = []
    for record in event["Records"]:
        try:
            _take(record)
        except Exception as error:
            # One message must not hold up the others; after some deliveries SQS puts it aside.
            log("message failed", message=record["messageId"], error=f"{type(error).__name__}: {error}")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _take(record: Mapping[str, Any]) -> None:
    body, message = record["body"], record["messageId"]
    try:
        job = accept(body, message, jobs=JOBS, executions=EXECUTIONS, settings=SETTINGS, now=time.time())
    except RequestError as error:
        told = {"reason": str(error)[:_REASON_CHARACTERS], "message": message}
        SQS.send_message(
            QueueUrl=SETTINGS.dead_letters_url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in told.items()
            },
        )
        log("message refused", **told)
    else:
        log("message accepted", message=message, job=job.request.job, state=job.state.value)
