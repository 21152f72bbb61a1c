"""Empties model package groups that are to be deleted with their stack."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CustomResource, Stack
from constructs import Construct

from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow

_ID = "RegistryEmptier"


class RegistryEmptier(CustomResourceProvider):
    """SageMaker deletes only empty groups; this empties them first. One per stack."""

    @classmethod
    def of(cls, scope: Construct) -> RegistryEmptier:
        """The emptier of the stack that holds `scope`."""
        stack = Stack.of(scope)
        existing = stack.node.try_find_child(_ID)
        return existing if isinstance(existing, cls) else cls(stack, _ID)

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            folder=Path(__file__).parent,
            description="Empties model package groups before they are deleted",
            environment={},
            timeout_seconds=840,
        )

    def empty_on_delete(self, scope: Construct, *, group_name: str, packages_arn: str) -> CustomResource:
        """Delete all versions of the group just before CloudFormation deletes it."""
        allow(
            self.handler,
            actions=["sagemaker:DeleteModelPackage", "sagemaker:ListModelPackages"],
            resources=[packages_arn],
            reason="Emptying a group means all of its versions.",
        )
        resource = CustomResource(
            scope,
            "Emptying",
            resource_type="Custom::ModelPackageGroupEmptying",
            service_token=self.service_token,
            service_timeout=self.service_timeout,
            properties={"GroupName": group_name},
        )
        # Deleted in reverse order: emptied while the permissions still stand.
        resource.node.add_dependency(self.handler.role)
        return resource
