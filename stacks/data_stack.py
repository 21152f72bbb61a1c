"""Storage for data, pipeline outputs and models."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from modelyard.storage import DataBucket
from stacks.environments import Environment


class DataStack(Stack):
    """The data bucket. Everything else can be deleted and deployed anew without loss.

    Attributes:
        data: The bucket.
    """

    data: DataBucket

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, **kwargs: Any
    ) -> None:
        super().__init__(
            scope, construct_id, description="Modelyard: data, pipeline outputs and models", **kwargs
        )
        self.data = DataBucket(
            self, "Data", retention=environment.data.retention, lifecycle=environment.data.lifecycle
        )
        CfnOutput(self, "DataBucketName", value=self.data.bucket_name, description="Bucket of all data")
        CfnOutput(self, "DataKeyArn", value=self.data.key.key_arn, description="Key of the data bucket")
