"""Storage for data, pipeline outputs and models."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.storage import DataBucket
from stacks.environments import Environment
from stacks.stage_stack import StageStack

# Folder in the data bucket of images to predict.
IMAGE_FOLDER = "images/"


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
        self.data = DataBucket(
            self, "Data", retention=environment.data.retention, lifecycle=environment.data.lifecycle
        )
        CfnOutput(self, "DataBucketName", value=self.data.bucket_name, description="Bucket of all data")
        CfnOutput(
            self,
            "ImageFolder",
            value=f"s3://{self.data.bucket_name}/{IMAGE_FOLDER}",
            description="Images to predict",
        )
        CfnOutput(self, "DataKeyArn", value=self.data.key.key_arn, description="Key of the data bucket")
