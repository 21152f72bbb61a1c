"""Entry point: what CloudFormation sends for a model package group that is to be emptied.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html
"""

from typing import Any

import boto3

from modelyard.runtime.cloudformation import Context, Event, respond
from modelyard.runtime.log import log

from .emptying import empty, may_be_emptied

SAGEMAKER = boto3.client("sagemaker")


def handle(event: Event, context: Context) -> None:
    """Does nothing until the deletion; then the group is emptied, unless it has come to be kept."""
    respond(event, context, _work)


def _work(event: Event) -> dict[str, Any]:
    group = event["ResourceProperties"]["GroupName"]
    if event["RequestType"] == "Delete":
        _delete(group, event["ResourceProperties"]["GroupArn"])
    return {"PhysicalResourceId": group}


def _delete(group: str, arn: str) -> None:
    if not may_be_emptied(SAGEMAKER, arn):
        log("model package group gone or to be kept, left as it is", group=group)
        return
    log("model package group emptied", group=group, versions=empty(SAGEMAKER, group))
