"""Entry point: onEvent of CDK's provider framework.

https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html#handling-lifecycle-events-onevent
"""

import json
import sys
from typing import Any

import boto3

from .emptying import empty

S3 = boto3.client("s3")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Does nothing until the deletion; then the bucket is emptied."""
    del context
    bucket = event["ResourceProperties"]["BucketName"]
    if event["RequestType"] == "Delete":
        record = {"event": "bucket emptied", "bucket": bucket, "objects": empty(S3, bucket)}
        sys.stdout.write(json.dumps(record) + "\n")
    return {"PhysicalResourceId": bucket}
