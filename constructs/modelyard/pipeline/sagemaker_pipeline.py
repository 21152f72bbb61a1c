"""A SageMaker pipeline deployed from a committed definition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aws_cdk import CustomResource
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.archives import zip_of
from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.assets import add_file
from modelyard.images import ContainerImage
from modelyard.permissions import allow
from modelyard.pipeline.execution_role import ExecutionRole
from modelyard.pipeline.props import PipelineData, PipelineDefinition, StepCode
from modelyard.pipeline.provider import CODE_PREFIX, PipelineProvider
from modelyard.pipeline.runtime.bundle import DEFINITION, code_member
from modelyard.registry import ModelRegistry
from modelyard.storage import IDataBucket

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}")
_EXECUTIONS_REASON = "Executions get their ids at run time; the grant ends at the pipeline."
_READ_PIPELINE = ("sagemaker:DescribePipeline", "sagemaker:ListPipelineExecutions")
_READ_EXECUTIONS = (
    "sagemaker:DescribePipelineDefinitionForExecution",
    "sagemaker:DescribePipelineExecution",
    "sagemaker:ListPipelineExecutionSteps",
    "sagemaker:ListPipelineParametersForExecution",
)


class SageMakerPipeline(Construct):
    """A pipeline whose definition is a file in the repository, with its execution role and its steps' code.

    Definition and code go up as one asset named by its content; values known only at deployment (role, image,
    bucket, key, registry group, code) replace its `${Name}` placeholders on the way to SageMaker.
    Everything that can be checked without them is checked at synth.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        name: Name of the pipeline: people and tools start it by name.
        definition: The file, its parameters' defaults, its parallelism.
        data: Which bucket and prefixes the steps may read and write.
        image: Fills `${ImageUri}`, and may be pulled by the jobs.
        registry: Fills `${ModelPackageGroupName}`, and takes the models.
        may_approve: Whether the pipeline may register a version as approved, so that it is served without a
            reviewer. Otherwise an execution with `ModelApprovalStatus=Approved` fails at its registration.
        code: Placeholder -> source files of a step; each becomes an archive below `code/` in the data bucket,
            named by its content.
        tags: Tags of the pipeline. CDK's `Tags` do not reach what a custom resource creates.

    Attributes:
        pipeline_name: The name.
        pipeline_arn: The ARN.
        execution_role: The role that steps run under.
        resource: The custom resource; attributes `PipelineArn` and `DefinitionSha256`.

    Raises:
        ValueError: A name that SageMaker would refuse, a definition that does not fit what is given, or data
            to write where code lies.

    Example:
        >>> SageMakerPipeline(stack, "Pipeline", name="refinance",
        ...     definition=PipelineDefinition(path=Path("refinance.json")),
        ...     data=PipelineData(bucket=data, read=("raw/",), write=("pipelines/refinance/",)))

    See https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines.html
    """

    pipeline_name: str
    pipeline_arn: str
    execution_role: ExecutionRole
    resource: CustomResource

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        definition: PipelineDefinition,
        data: PipelineData,
        image: ContainerImage | None = None,
        registry: ModelRegistry | None = None,
        may_approve: bool = False,
        code: Mapping[str, StepCode] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stack = inherit_stack(self, scope)
        if not _NAME.fullmatch(name):
            raise ValueError(f"pipeline name {name!r}: use 1 to 256 letters, digits and inner hyphens")
        if bad := [prefix for prefix in data.write if prefix.startswith(CODE_PREFIX)]:
            raise ValueError(
                f"PipelineData.write has {bad[0]!r}: what lies below {CODE_PREFIX} is the code that steps "
                "run, and only a deployment writes it. Choose another prefix"
            )
        self.pipeline_name = name
        # Written from the name: the handler's own policy needs it before the resource exists. SageMaker
        # writes names in lower case into ARNs, and policies are compared with those.
        self.pipeline_arn = arn_in_stack(self._stack, "sagemaker", f"pipeline/{name.lower()}")
        values = {
            "DataBucket": data.bucket.bucket_name,
            **({"KmsKeyArn": data.bucket.key_arn} if data.bucket.key_arn else {}),
            **({"ImageUri": image.uri} if image else {}),
            **({"ModelPackageGroupName": registry.group_name} if registry else {}),
        }
        # What the construct offers may go unused; what the caller gave may not.
        wanted, code = definition.placeholders, code or {}
        definition.check(pipeline=name, given=wanted & {"ExecutionRoleArn", *values} | code.keys())
        self.execution_role = ExecutionRole(
            self,
            "ExecutionRole",
            pipeline=name,
            step_types=definition.step_types,
            data=replace(data, read=(*data.read, CODE_PREFIX)) if code else data,
            image=image,
            registry=registry,
            may_approve=may_approve,
        )
        role_arn = self.execution_role.arn
        values = {
            key: value for key, value in {"ExecutionRoleArn": role_arn, **values}.items() if key in wanted
        } | {
            key: f"s3://{data.bucket.bucket_name}/{CODE_PREFIX}{step.sha256}.zip"
            for key, step in code.items()
        }
        self.resource = self._custom_resource(
            definition, list(code.values()), data.bucket, role_arn, values, tags or {}, registry
        )

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Allow starting and stopping executions, and watching them."""
        self._grant(
            grantee,
            pipeline=[*_READ_PIPELINE, "sagemaker:StartPipelineExecution"],
            executions=[*_READ_EXECUTIONS, "sagemaker:StopPipelineExecution"],
        )

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Allow describing the pipeline, its executions and their steps."""
        self._grant(grantee, pipeline=_READ_PIPELINE, executions=_READ_EXECUTIONS)

    def _grant(self, grantee: iam.IGrantable, *, pipeline: Sequence[str], executions: Sequence[str]) -> None:
        allow(grantee, actions=pipeline, resources=[self.pipeline_arn])
        allow(
            grantee,
            actions=executions,
            resources=[f"{self.pipeline_arn}/execution/*"],
            reason=_EXECUTIONS_REASON,
        )

    def _custom_resource(
        self,
        definition: PipelineDefinition,
        code: Sequence[StepCode],
        bucket: IDataBucket,
        role_arn: str,
        values: Mapping[str, str],
        tags: Mapping[str, str],
        registry: ModelRegistry | None,
    ) -> CustomResource:
        files = {code_member(step.sha256): step.archive for step in code}
        asset = add_file(
            self._stack,
            zip_of({DEFINITION: definition.path.read_bytes(), **files}),
            suffix=".zip",
            name=f"pipeline {self.pipeline_name}",
        )
        provider = PipelineProvider.of(self._stack)
        permissions = provider.manage(
            self,
            name=self.pipeline_name,
            pipeline_arn=self.pipeline_arn,
            execution_role_arn=role_arn,
            bundle=asset,
            code=bucket if code else None,
        )
        return provider.resource(
            self,
            "Resource",
            resource_type="Custom::SageMakerPipeline",
            properties={
                "PipelineName": self.pipeline_name,
                "RoleArn": role_arn,
                "BundleBucket": asset.bucket_name,
                "BundleKey": asset.object_key,
                **({"CodeBucket": bucket.bucket_name, "CodePrefix": CODE_PREFIX} if code else {}),
                "DefinitionSha256": definition.sha256,
                "ParallelismMax": str(definition.parallelism),
                "Values": dict(values),
                "ParameterDefaults": dict(definition.parameter_defaults),
                "Description": definition.description,
                "Tags": dict(tags),
            },
            # SageMaker asks for the role and its permissions when the pipeline is made.
            after=[permissions, self.execution_role, *([registry] if registry else [])],
        )
