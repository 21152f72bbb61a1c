"""The function behind every `SageMakerPipeline` of a stack."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import custom_resources as cr
from constructs import Construct

from modelyard.functions import FunctionSize, RuntimeFunction, service_role
from modelyard.permissions import acknowledge_wildcards, allow
from modelyard.pipeline.runtime.settings import Settings

_ID = "PipelineProvider"
# How long a delete waits for running executions.
_STOP_SECONDS = 300


class PipelineProvider(Construct):
    """Creates, updates and deletes pipelines for CloudFormation. One per stack, shared by its pipelines.

    Attributes:
        handler: Our function, which talks to SageMaker.
        service_token: What the custom resources name.
        service_timeout: After this, CloudFormation gives up on an answer; its own default is an hour.
    """

    handler: RuntimeFunction
    service_token: str
    service_timeout: Duration

    @classmethod
    def of(cls, scope: Construct) -> PipelineProvider:
        """The provider of the stack that holds `scope`."""
        stack = Stack.of(scope)
        existing = stack.node.try_find_child(_ID)
        return existing if isinstance(existing, cls) else cls(stack, _ID)

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        settings = Settings(stop_seconds=_STOP_SECONDS)
        timeout = settings.stop_seconds + 60
        self.service_timeout = Duration.seconds(timeout + 60)
        self.handler = RuntimeFunction(
            self,
            "Handler",
            folder=Path(__file__).parent,
            description="Keeps SageMaker pipelines as their templates want them",
            environment=settings.to_environment(),
            size=FunctionSize(memory_mib=512, timeout_seconds=timeout),
        )
        log_group = logs.LogGroup(self, "FrameworkLogs", retention=logs.RetentionDays.THREE_MONTHS)
        role = service_role(
            self, "FrameworkRole", description="Runs: CDK's custom resource framework", log_group=log_group
        )
        framework = cr.Provider(
            self,
            "Framework",
            on_event_handler=self.handler,
            framework_on_event_role=role,
            log_group=log_group,
        )
        acknowledge_wildcards(
            role,
            [f"{self.handler.function_arn}:*"],
            "CDK's framework invokes any version of its one handler.",
        )
        self.service_token = framework.service_token

    def manage(self, *, pipeline_arn: str, execution_role: iam.IRole, definition: s3_assets.Asset) -> None:
        """Allow the handler this pipeline, its role and its definition, and nothing of any other."""
        allow(
            self.handler,
            actions=[
                "sagemaker:AddTags",
                "sagemaker:CreatePipeline",
                "sagemaker:DeletePipeline",
                "sagemaker:DeleteTags",
                "sagemaker:DescribePipeline",
                "sagemaker:ListPipelineExecutions",
                "sagemaker:ListTags",
                "sagemaker:UpdatePipeline",
            ],
            resources=[pipeline_arn],
        )
        allow(
            self.handler,
            actions=["sagemaker:StopPipelineExecution"],
            resources=[f"{pipeline_arn}/execution/*"],
            reason="Executions get their ids at run time; the grant ends at the pipeline.",
        )
        allow(
            self.handler,
            actions=["iam:PassRole"],
            resources=[execution_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        allow(
            self.handler,
            actions=["s3:GetObject"],
            resources=[definition.bucket.arn_for_objects(definition.s3_object_key)],
        )
