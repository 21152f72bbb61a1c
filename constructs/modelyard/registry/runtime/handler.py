"""Entry point: onEvent of CDK's provider framework.

https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html#handling-lifecycle-events-onevent
"""

import json
import sys
from typing import Any

import boto3

from .emptying import empty

SAGEMAKER = boto3.client("sagemaker")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Does nothing until the deletion; then the group is emptied."""
    del context
    group = event["ResourceProperties"]["GroupName"]
    if event["RequestType"] == "Delete":
        record = {"event": "model package group emptied", "group": group, "versions": empty(SAGEMAKER, group)}
        sys.stdout.write(json.dumps(record) + "\n")
    return {"PhysicalResourceId": group}
