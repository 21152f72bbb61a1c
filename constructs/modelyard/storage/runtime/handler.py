"""Entry point: onEvent of CDK's provider framework.

https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html#handling-lifecycle-events-onevent
"""

import json
import sys
from typing import Any

import boto3

from .emptying import close, empty, may_be_emptied

S3 = boto3.client("s3")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Does nothing until the deletion; then the bucket is emptied, unless it has come to be kept."""
    del context
    bucket = event["ResourceProperties"]["BucketName"]
    if event["RequestType"] == "Delete":
        record = {"bucket": bucket, **_delete(bucket)}
        sys.stdout.write(json.dumps(record) + "\n")
    return {"PhysicalResourceId": bucket}


def _delete(bucket: str) -> dict[str, Any]:
    if not may_be_emptied(S3, bucket):
        return {"event": "bucket gone or to be kept, left as it is"}
    close(S3, bucket)
    return {"event": "bucket emptied", "objects": empty(S3, bucket)}
