"""What people may do: who makes models does not approve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.inference import InferenceFunction
from modelyard.permissions import allow, in_one_policy, merged
from modelyard.storage import IDataBucket
from stacks.data_stack import IMAGE_FOLDER
from stacks.environments import Environment
from stacks.pipeline_stack import PipelineStack
from stacks.serving_stack import ServingStack
from stacks.stage_stack import StageStack, stack_name

if TYPE_CHECKING:
    from stacks.training_stack import TrainingStack


class AccessStack(StageStack):
    """Two roles for people, with separate duties. The account's own policies say who may take which.

    Attributes:
        data_scientist: Uploads data and images, runs pipelines and training jobs, reads what they made, asks
            for predictions.
        model_approver: Reads how models were made and what they achieve, approves and rejects them.

    Both read what is served (`modelyard models`). Neither calls the deployer (`modelyard reconcile`), which
    looks by itself: that, like all of docs/operations.md, is for who administers the stacks.
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
        serving: ServingStack,
        inference: InferenceFunction,
        training: TrainingStack | None = None,
    ) -> None:
        super().__init__(scope, construct_id, environment=environment, description="roles for people")
        self._environment = environment
        self.data_scientist = self._role(
            "DataScientist", "Uploads data, runs pipelines, asks for predictions", environment
        )
        self.model_approver = self._role("ModelApprover", "Approves and rejects models", environment)
        scientist, approver = self.data_scientist, self.model_approver
        with in_one_policy(scientist, "Permissions"), in_one_policy(approver, "Permissions"):
            data.grant_write(scientist, "raw/", "batch/")
            # What is predicted in a request is too small to come in parts.
            data.grant_write(scientist, IMAGE_FOLDER, multipart=False)
            inference.grant_invoke_url(scientist)
            data.grant_read(scientist, "pipelines/")
            # Reports, to decide by: not the rows that models were made of.
            data.grant_get(approver, "pipelines/*.json")
            # What is served, and why not: `modelyard models`.
            for person in (scientist, approver):
                serving.deployer.records.grant_read(person)
            # Where it all is: bucket, folder, URL, table.
            self._grant_outputs(scientist, "data", "inference", "serving")
            self._grant_outputs(approver, "serving")
            if training:
                training.grant_use(scientist, data)
                self._grant_outputs(scientist, "training")
        with merged(scientist), merged(approver):
            for pipeline in pipelines.pipelines.values():
                pipeline.grant_start(scientist)
                pipeline.grant_read(approver)
            for registry in pipelines.registries.values():
                registry.grant_read(scientist)
                registry.grant_approve(approver)

    def _grant_outputs(self, person: iam.Role, *stacks: str) -> None:
        names = [stack_name(self._environment, stack) for stack in stacks]
        allow(
            person,
            actions=["cloudformation:DescribeStacks"],
            resources=[arn_in_stack(self, "cloudformation", f"stack/{name}/*") for name in names],
            reason="CloudFormation puts an id of its own behind the name of each stack.",
        )

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
        inherit_stack(role, self)
        CfnOutput(self, f"{name}RoleArn", value=role.role_arn, description=duty)
        return role
