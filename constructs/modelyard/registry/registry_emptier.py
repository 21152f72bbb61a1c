"""Empties model package groups that are to be deleted with their stack."""

from __future__ import annotations

from aws_cdk import CfnTag, CustomResource
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow
from modelyard.runtime.tags import EMPTY_ON_DELETE

# The handler looks for it: with `retain` switched on, the custom resource goes but the group stays.
MARK = CfnTag(key=EMPTY_ON_DELETE[0], value=EMPTY_ON_DELETE[1])


class RegistryEmptier(CustomResourceProvider):
    """SageMaker deletes only empty groups; this empties them first. One per stack."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            domain="registry",
            description="Empties model package groups before they are deleted",
            environment={},
            timeout_seconds=840,
        )

    def empty_on_delete(
        self,
        scope: Construct,
        group: sagemaker.CfnModelPackageGroup,
        *,
        name: str,
        group_arn: str,
        packages_arn: str,
    ) -> CustomResource:
        """Delete all versions of a group tagged with `MARK` just before CloudFormation deletes it."""
        role = self.function.execution_role
        with self.permissions(scope, name) as permissions:
            allow(role, actions=["sagemaker:ListTags"], resources=[group_arn])
            allow(
                role,
                actions=["sagemaker:DeleteModelPackage", "sagemaker:ListModelPackages"],
                resources=[packages_arn],
                reason="Emptying a group means all of its versions.",
            )
        assert permissions.policy is not None
        # Deleted in reverse order: emptied while it is there.
        return self.resource(
            scope,
            "EmptyOnDelete",
            resource_type="Custom::ModelPackageGroupEmptying",
            properties={"GroupName": name, "GroupArn": group_arn},
            after=[permissions.policy, group],
        )
