"""Entry point: what CloudFormation sends for a pipeline.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html
"""

import os
from typing import Any

import boto3

from modelyard.runtime.cloudformation import Context, Event, respond

from .patience import patiently
from .pipelines import Pipelines
from .request import parse
from .settings import Settings
from .upsert import apply, remove

SETTINGS = Settings.from_environment(os.environ)
PIPELINES = Pipelines(boto3.client("sagemaker"), boto3.client("s3"))


def handle(event: Event, context: Context) -> None:
    """Tells CloudFormation the pipeline's name and attributes, or what is wrong."""
    respond(event, context, _work)


def _work(event: Event) -> dict[str, Any]:
    request = parse(event)
    if request.type == "Delete":
        return remove(request, PIPELINES, stop_seconds=SETTINGS.stop_seconds)
    return patiently(lambda: apply(request, PIPELINES), seconds=SETTINGS.denied_seconds)
