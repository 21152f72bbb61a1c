"""Entry point: onEvent of CDK's provider framework.

https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html#handling-lifecycle-events-onevent
"""

import os
from typing import Any

import boto3
from botocore.exceptions import ClientError

from modelyard.runtime.log import log

from .errors import PipelineError
from .patience import patiently
from .pipelines import Pipelines
from .request import parse
from .settings import Settings
from .upsert import apply, remove

SETTINGS = Settings.from_environment(os.environ)
PIPELINES = Pipelines(boto3.client("sagemaker"), boto3.client("s3"))


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answers with physical id and attributes; an exception's message reaches the person who deploys."""
    del context
    log("request", type=event["RequestType"], resource=event["LogicalResourceId"], id=event["RequestId"])
    try:
        request = parse(event)
        if request.type == "Delete":
            return remove(request, PIPELINES, stop_seconds=SETTINGS.stop_seconds)
        return patiently(lambda: apply(request, PIPELINES), seconds=SETTINGS.denied_seconds)
    except (PipelineError, ClientError) as error:
        log("request failed", type=event["RequestType"], error=str(error))
        raise
