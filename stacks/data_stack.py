"""Storage for data, pipeline outputs and models."""

from __future__ import annotations

from dataclasses import replace

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.storage import DataBucket
from stacks.environments import Environment
from stacks.stage_stack import StageStack
from stacks.training_settings import JOBS

# Folder in the data bucket of images to predict.
IMAGE_FOLDER = "images/"
# A job deletes a checkpoint a minute, which is of no use any more, and is paid for until S3 forgets it.
_PRUNED = {JOBS: 1}


class DataStack(StageStack):
    """The data bucket. Everything else can be deleted and deployed anew without loss.

    Attributes:
        data: The bucket.
    """

    data: DataBucket

    def __init__(self, scope: Construct, construct_id: str, *, environment: Environment) -> None:
        super().__init__(
            scope, construct_id, environment=environment, description="data, pipeline outputs and models"
        )
        lifecycle = environment.data.lifecycle
        if environment.training:
            lifecycle = replace(lifecycle, pruned_days={**_PRUNED, **lifecycle.pruned_days})
        self.data = DataBucket(self, "Data", retention=environment.data.retention, lifecycle=lifecycle)
        CfnOutput(self, "DataBucketName", value=self.data.bucket_name, description="Bucket of all data")
        CfnOutput(
            self,
            "ImageFolder",
            value=f"s3://{self.data.bucket_name}/{IMAGE_FOLDER}",
            description="Images to predict",
        )
        CfnOutput(self, "DataKeyArn", value=self.data.key.key_arn, description="Key of the data bucket")
