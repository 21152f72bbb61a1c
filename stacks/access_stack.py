"""What people may do: who makes models does not approve them."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.inference import InferenceFunction
from modelyard.permissions import merged
from modelyard.storage import IDataBucket
from stacks.data_stack import IMAGE_FOLDER
from stacks.environments import Environment
from stacks.pipeline_stack import PipelineStack
from stacks.stage_stack import StageStack


class AccessStack(StageStack):
    """Two roles for people, with separate duties. The account's own policies say who may take which.

    Attributes:
        data_scientist: Uploads data, runs pipelines, reads what they made, asks for predictions.
        model_approver: Reads how models were made and what they achieve, approves and rejects them.
    """

    data_scientist: iam.Role
    model_approver: iam.Role

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: IDataBucket,
        pipelines: PipelineStack,
        inference: InferenceFunction,
    ) -> None:
        super().__init__(scope, construct_id, environment=environment, description="roles for people")
        self.data_scientist = self._role(
            "DataScientist", "Uploads data, runs pipelines, asks for predictions", environment
        )
        self.model_approver = self._role("ModelApprover", "Approves and rejects models", environment)
        data.grant_write(self.data_scientist, "raw/", "batch/")
        # What is predicted in a request is too small to come in parts.
        data.grant_write(self.data_scientist, IMAGE_FOLDER, multipart=False)
        inference.grant_invoke_url(self.data_scientist)
        data.grant_read(self.data_scientist, "pipelines/")
        # Reports, to decide by: not the rows that models were made of.
        data.grant_get(self.model_approver, "pipelines/*.json")
        with merged(self.data_scientist), merged(self.model_approver):
            for pipeline in pipelines.pipelines.values():
                pipeline.grant_start(self.data_scientist)
                pipeline.grant_read(self.model_approver)
            for registry in pipelines.registries.values():
                registry.grant_read(self.data_scientist)
                registry.grant_approve(self.model_approver)

    def _role(self, name: str, duty: str, environment: Environment) -> iam.Role:
        people: iam.PrincipalBase = iam.AccountRootPrincipal()
        if environment.access.require_mfa:
            people = people.with_conditions({"Bool": {"aws:MultiFactorAuthPresent": "true"}})
        role = iam.Role(
            self,
            name,
            description=duty,
            assumed_by=people,
            max_session_duration=Duration.hours(environment.access.session_hours),
        )
        CfnOutput(self, f"{name}RoleArn", value=role.role_arn, description=duty)
        return role
