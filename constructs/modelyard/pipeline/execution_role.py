"""The role that a pipeline's steps run under."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.images import ContainerImage
from modelyard.permissions import allow, in_one_policy, service_principal
from modelyard.pipeline.props import PipelineData
from modelyard.registry import ModelRegistry

# Step type -> job, resource type, and the names that pipelines give: tuning jobs have too few characters for
# the prefix, so their names begin with the execution's id.
_JOBS = {
    "Processing": ("ProcessingJob", "processing-job", "pipelines-*"),
    "Training": ("TrainingJob", "training-job", "pipelines-*"),
    "Transform": ("TransformJob", "transform-job", "pipelines-*"),
    "Tuning": ("HyperParameterTuningJob", "hyper-parameter-tuning-job", "*"),
}
_NAMES_REASON = (
    "SageMaker names what a pipeline creates pipelines-<execution>-<step>, tuning jobs <execution>-<step>."
)
_LOG_GROUPS = ("ProcessingJobs", "TrainingJobs", "TransformJobs")


class ExecutionRole(iam.Role):
    """Role for one pipeline: runs jobs under the names that pipelines give, passes itself and nothing else.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        pipeline: Name of the pipeline, for the description.
        step_types: Types of its steps, which decide what it may create.
        data: What its jobs read and write.
        image: Image of its jobs; None when they use images that need no grant.
        registry: Group that it registers models in, if it does.
        may_approve: Whether it may register a version as approved.

    Attributes:
        arn: Its ARN, asked for once.

    See https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        pipeline: str,
        step_types: frozenset[str],
        data: PipelineData,
        image: ContainerImage | None,
        registry: ModelRegistry | None,
        may_approve: bool = False,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description=f"Runs the steps of pipeline {pipeline}",
            assumed_by=service_principal("sagemaker"),
        )
        self._stack, self.arn = inherit_stack(self, scope), self.role_arn
        with in_one_policy(self, "Permissions"):
            self._allow_jobs(step_types)
            if "Model" in step_types:
                self._allow_models()
            self._allow_passing_itself()
            self._allow_monitoring()
            self._allow_data(data)
            if image:
                image.grant_pull(self)
            if registry:
                registry.grant_register(self, may_approve=may_approve)

    def _allow_jobs(self, step_types: frozenset[str]) -> None:
        for step in sorted(step_types & _JOBS.keys()):
            job, resource, names = _JOBS[step]
            allow(
                self,
                actions=[
                    "sagemaker:AddTags",
                    f"sagemaker:Create{job}",
                    f"sagemaker:Describe{job}",
                    f"sagemaker:Stop{job}",
                ],
                resources=[self._arn("sagemaker", resource, names)],
                reason=_NAMES_REASON,
            )
        if "Tuning" in step_types:
            # Its result: the jobs that it tried, best first.
            allow(
                self,
                actions=["sagemaker:ListTrainingJobsForHyperParameterTuningJob"],
                resources=[self._arn("sagemaker", "hyper-parameter-tuning-job", "*")],
                reason=_NAMES_REASON,
            )

    def _allow_models(self) -> None:
        allow(
            self,
            actions=["sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:DescribeModel"],
            resources=[self._arn("sagemaker", "model", "pipelines-*")],
            reason=_NAMES_REASON,
        )

    def _allow_passing_itself(self) -> None:
        allow(
            self,
            actions=["iam:PassRole"],
            resources=[self.arn],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )

    def _allow_monitoring(self) -> None:
        allow(
            self,
            actions=[
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            resources=[
                arn_in_stack(self._stack, "logs", f"log-group:/aws/sagemaker/{group}:*")
                for group in _LOG_GROUPS
            ],
            reason="One log stream per host of a job, named at run time, in SageMaker's own groups.",
        )
        allow(
            self,
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
            reason="cloudwatch:PutMetricData takes no resource; the condition limits the namespace.",
        )

    def _allow_data(self, data: PipelineData) -> None:
        if data.read:
            data.bucket.grant_read(self, *data.read)
        if data.write:
            data.bucket.grant_read_write(self, *data.write)
        if key_arn := data.bucket.key_arn:
            # Jobs encrypt their volumes: SageMaker hands the key on to EC2 by a grant.
            allow(self, actions=["kms:DescribeKey"], resources=[key_arn])
            allow(
                self,
                actions=["kms:CreateGrant"],
                resources=[key_arn],
                conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            )

    def _arn(self, service: str, resource: str, name: str) -> str:
        return arn_in_stack(self._stack, service, f"{resource}/{name}")
