"""Predictions over HTTPS."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.inference import ImageSource, InferenceFunction
from modelyard.storage import IDataBucket
from stacks.data_stack import IMAGE_FOLDER
from stacks.environments import Environment
from stacks.serving_stack import ServingStack
from stacks.stage_stack import StageStack


class InferenceStack(StageStack):
    """The function that answers for all models of the endpoint.

    Attributes:
        inference: The function with its URL.
    """

    inference: InferenceFunction

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: IDataBucket,
        serving: ServingStack,
    ) -> None:
        super().__init__(scope, construct_id, environment=environment, description="predictions over HTTPS")
        self.inference = InferenceFunction(
            self,
            "Inference",
            endpoint=serving.endpoint,
            records=serving.deployer.records,
            models=[registry.group_name for registry in serving.models.values()],
            concurrency=environment.inference,
            release=environment.release,
            images=ImageSource(data=data, prefix=IMAGE_FOLDER),
        )
        if serving.alarm_topic and self.inference.release:
            serving.alarm_topic.hear(self.inference.release.alarms)
        CfnOutput(self, "FunctionUrl", value=self.inference.url.url, description="POST here, signed (lambda)")
