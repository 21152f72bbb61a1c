"""Empties model package groups that are to be deleted with their stack."""

from __future__ import annotations

from aws_cdk import CustomResource, Tags
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow
from modelyard.runtime.tags import EMPTY_ON_DELETE


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
        self, group: sagemaker.CfnModelPackageGroup, *, group_arn: str, packages_arn: str
    ) -> CustomResource:
        """Delete all versions of the group just before CloudFormation deletes it."""
        # The handler looks for it: with `retain` switched on, this resource goes but the group stays.
        Tags.of(group).add(*EMPTY_ON_DELETE)
        scope = group.node.scope
        assert isinstance(scope, Construct)
        permissions = self.permissions(scope, group.model_package_group_name)
        allow(permissions, actions=["sagemaker:ListTags"], resources=[group_arn])
        allow(
            permissions,
            actions=["sagemaker:DeleteModelPackage", "sagemaker:ListModelPackages"],
            resources=[packages_arn],
            reason="Emptying a group means all of its versions.",
        )
        # Deleted in reverse order: emptied while it is there.
        return self.resource(
            scope,
            "EmptyOnDelete",
            resource_type="Custom::ModelPackageGroupEmptying",
            properties={"GroupName": group.model_package_group_name, "GroupArn": group_arn},
            after=[permissions, group],
        )
