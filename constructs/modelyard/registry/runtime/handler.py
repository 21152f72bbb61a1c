"""Entry point: onEvent of CDK's provider framework.

https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html#handling-lifecycle-events-onevent
"""

import json
import sys
from typing import Any

import boto3

from .emptying import empty, may_be_emptied

SAGEMAKER = boto3.client("sagemaker")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Does nothing until the deletion; then the group is emptied, unless it has come to be kept."""
    del context
    group = event["ResourceProperties"]["GroupName"]
    if event["RequestType"] == "Delete":
        record = {"group": group, **_delete(group, event["ResourceProperties"]["GroupArn"])}
        sys.stdout.write(json.dumps(record) + "\n")
    return {"PhysicalResourceId": group}


def _delete(group: str, arn: str) -> dict[str, Any]:
    if not may_be_emptied(SAGEMAKER, arn):
        return {"event": "model package group gone or to be kept, left as it is"}
    return {"event": "model package group emptied", "versions": empty(SAGEMAKER, group)}
