"""Empties buckets that are to be deleted with their stack."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CustomResource, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow

_ID = "BucketEmptier"


class BucketEmptier(CustomResourceProvider):
    """CloudFormation deletes only empty buckets; this empties them first. One per stack.

    In place of CDK's `auto_delete_objects`, whose role may do it to any bucket whose policy names it, and
    whose custom resource has no timeout.
    """

    @classmethod
    def of(cls, scope: Construct) -> BucketEmptier:
        """The emptier of the stack that holds `scope`."""
        stack = Stack.of(scope)
        existing = stack.node.try_find_child(_ID)
        return existing if isinstance(existing, cls) else cls(stack, _ID)

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            folder=Path(__file__).parent,
            description="Empties buckets before they are deleted",
            environment={},
            timeout_seconds=840,
        )

    def empty_on_delete(self, bucket: s3.Bucket) -> CustomResource:
        """Delete all objects of `bucket` just before CloudFormation deletes it."""
        allow(self.handler, actions=["s3:ListBucketVersions"], resources=[bucket.bucket_arn])
        allow(
            self.handler,
            actions=["s3:DeleteObject", "s3:DeleteObjectVersion"],
            resources=[bucket.arn_for_objects("*")],
            reason="Emptying a bucket means all of its objects.",
        )
        resource = CustomResource(
            bucket,
            "Emptying",
            resource_type="Custom::BucketEmptying",
            service_token=self.service_token,
            service_timeout=self.service_timeout,
            properties={"BucketName": bucket.bucket_name},
        )
        # Deleted in reverse order: emptied while policy and permissions still stand.
        resource.node.add_dependency(self.handler.role)
        if bucket.policy:
            resource.node.add_dependency(bucket.policy)
        return resource
