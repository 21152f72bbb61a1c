"""Empties buckets that are to be deleted with their stack."""

from __future__ import annotations

from aws_cdk import CustomResource, Tags
from aws_cdk import aws_s3 as s3
from constructs import Construct

from modelyard.custom_resources import CustomResourceProvider
from modelyard.permissions import allow
from modelyard.runtime.tags import EMPTY_ON_DELETE


class BucketEmptier(CustomResourceProvider):
    """CloudFormation deletes only empty buckets; this empties them first. One per stack.

    In place of CDK's `auto_delete_objects`, whose role may do it to any bucket whose policy names it, and
    whose custom resource has no timeout.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            domain="storage",
            description="Empties buckets before they are deleted",
            environment={},
            timeout_seconds=840,
        )

    def empty_on_delete(self, bucket: s3.Bucket) -> CustomResource:
        """Delete all objects of `bucket` just before CloudFormation deletes it.

        What may write to it until then must depend on the returned resource.
        """
        # The handler looks for it: with `retain` switched on, this resource goes but the bucket stays.
        Tags.of(bucket).add(*EMPTY_ON_DELETE)
        role, arn = self.function.execution_role, bucket.bucket_arn
        with self.permissions(bucket, "EmptyOnDelete") as permissions:
            allow(
                role,
                actions=[
                    "s3:GetBucketPolicy",
                    "s3:GetBucketTagging",
                    "s3:ListBucketVersions",
                    "s3:PutBucketPolicy",
                ],
                resources=[arn],
            )
            allow(
                role,
                actions=["s3:DeleteObject", "s3:DeleteObjectVersion"],
                resources=[f"{arn}/*"],
                reason="Emptying a bucket means all of its objects.",
            )
        assert permissions.policy is not None
        resource = self.resource(
            bucket,
            "EmptyOnDelete",
            resource_type="Custom::BucketEmptying",
            properties={"BucketName": bucket.bucket_name},
            after=[permissions.policy],
        )
        # Deleted in reverse order: emptied after the bucket's policy is gone, since deleting that later would
        # take away the function's, which keeps writers out.
        if policy := bucket.policy:
            policy.node.add_dependency(resource)
        return resource
