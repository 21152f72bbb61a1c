"""Entry point: what CloudFormation sends for a bucket that is to be emptied.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html
"""

from typing import Any

import boto3

from modelyard.runtime.cloudformation import Context, Event, respond
from modelyard.runtime.log import log

from .emptying import close, empty, may_be_emptied

S3 = boto3.client("s3")


def handle(event: Event, context: Context) -> None:
    """Does nothing until the deletion; then the bucket is emptied, unless it has come to be kept."""
    respond(event, context, _work)


def _work(event: Event) -> dict[str, Any]:
    bucket = event["ResourceProperties"]["BucketName"]
    if event["RequestType"] == "Delete":
        _delete(bucket)
    return {"PhysicalResourceId": bucket}


def _delete(bucket: str) -> None:
    if not may_be_emptied(S3, bucket):
        log("bucket gone or to be kept, left as it is", bucket=bucket)
        return
    close(S3, bucket)
    log("bucket emptied", bucket=bucket, objects=empty(S3, bucket))
