"""What people may do, as one role."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.inference import InferenceFunction
from modelyard.storage import DataBucket
from stacks.environments import Environment
from stacks.pipeline_stack import PipelineStack


class AccessStack(Stack):
    """The operator's role: upload data, run pipelines, read reports, approve models, ask for predictions.

    Attributes:
        operator: The role.
    """

    operator: iam.Role

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: DataBucket,
        pipelines: PipelineStack,
        inference: InferenceFunction,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, construct_id, description="Modelyard: roles for people", **kwargs)
        # The account's own policies say which people may take the role.
        people: iam.PrincipalBase = iam.AccountRootPrincipal()
        if environment.access.require_mfa:
            people = people.with_conditions({"Bool": {"aws:MultiFactorAuthPresent": "true"}})
        self.operator = iam.Role(
            self,
            "Operator",
            description="Uploads data, runs pipelines, approves models, asks for predictions",
            assumed_by=people,
            max_session_duration=Duration.hours(environment.access.session_hours),
        )
        data.grant_write(self.operator, "raw/", "batch/")
        # Evaluation reports, to decide by; scored batches.
        data.grant_read(self.operator, "pipelines/")
        for pipeline in pipelines.pipelines.values():
            pipeline.grant_start(self.operator)
        for registry in pipelines.registries.values():
            registry.grant_approve(self.operator)
        inference.grant_invoke_url(self.operator)
        CfnOutput(self, "OperatorRoleArn", value=self.operator.role_arn, description="Role for people")
