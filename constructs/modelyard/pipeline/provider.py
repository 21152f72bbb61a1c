"""The function behind every `SageMakerPipeline` of a stack."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.assets import FileAsset
from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow
from modelyard.pipeline.runtime.settings import Settings
from modelyard.storage import IDataBucket

# Of the data bucket; this function alone writes there.
CODE_PREFIX = "code/"
# How long a delete waits for running executions.
_STOP_SECONDS = 300


class PipelineProvider(CustomResourceProvider):
    """Creates, updates and deletes pipelines for CloudFormation. One per stack, shared by its pipelines."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        settings = Settings(stop_seconds=_STOP_SECONDS)
        super().__init__(
            scope,
            construct_id,
            domain="pipeline",
            description="Keeps SageMaker pipelines as their templates want them",
            environment=settings.to_environment(),
            timeout_seconds=settings.timeout_seconds,
        )
        self._code_buckets: list[IDataBucket] = []

    def manage(
        self,
        pipeline: Construct,
        *,
        name: str,
        pipeline_arn: str,
        execution_role_arn: str,
        bundle: FileAsset,
        code: IDataBucket | None,
    ) -> iam.CfnPolicy:
        """Allow the handler this pipeline, its role and its bundle, and nothing of any other; and to write
        below `CODE_PREFIX` in the bucket `code`, if the pipeline has code.

        Returns the policy, on which the custom resource depends: it must be there before and after it.
        """
        role = self.function.execution_role
        # Once for all pipelines: IAM bounds a role's policies together. Deleting a pipeline needs none of it.
        if code and not any(code is known for known in self._code_buckets):
            self._code_buckets.append(code)
            code.grant_write(role, CODE_PREFIX, multipart=False)
        with self.permissions(pipeline, name) as permissions:
            allow(
                role,
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
                role,
                actions=["sagemaker:StopPipelineExecution"],
                resources=[f"{pipeline_arn}/execution/*"],
                reason="Executions get their ids at run time; the grant ends at the pipeline.",
            )
            allow(
                role,
                actions=["iam:PassRole"],
                resources=[execution_role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
            allow(
                role,
                actions=["s3:GetObject"],
                resources=[bundle.object_arn],
            )
        assert permissions.policy is not None
        return permissions.policy
