"""A bucket for data and models, encrypted, versioned and logged."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from modelyard.permissions import acknowledge
from modelyard.storage.bucket_access import IDataBucket
from modelyard.storage.bucket_emptier import BucketEmptier
from modelyard.storage.props import Lifecycle, Retention


class DataBucket(Construct, IDataBucket):
    """Versioned bucket under its own KMS key: TLS only, no public access, access logs, EventBridge events.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        retention: What becomes of the data when the stack is deleted; kept by default.
        lifecycle: When old versions, unfinished uploads and logs expire.

    Attributes:
        bucket: The data bucket.
        key: The key that encrypts it, rotated yearly.
        access_logs: The bucket that receives the server access logs.

    Example:
        >>> data = DataBucket(stack, "Data")
        >>> data.grant_read(role, "raw/")

    See https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
    """

    bucket: s3.Bucket
    key: kms.Key
    access_logs: s3.Bucket

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        retention: Retention | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        retention = retention or Retention()
        lifecycle = lifecycle or Lifecycle()
        removal = retention.removal_policy
        closed = s3.BlockPublicAccess.BLOCK_ALL

        self.key = kms.Key(
            self,
            "Key",
            description=f"Data and models in {self.node.path}",
            enable_key_rotation=True,
            removal_policy=removal,
        )
        self.access_logs = s3.Bucket(
            self,
            "AccessLogs",
            # S3 delivers access logs only to buckets with S3-managed keys.
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=closed,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(lifecycle.access_log_days))],
            removal_policy=removal,
        )
        acknowledge(
            self.access_logs, "AwsSolutions-S1", "The log bucket itself: logging its own writes would loop."
        )
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            versioned=True,
            block_public_access=closed,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="data/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(lifecycle.noncurrent_days),
                    abort_incomplete_multipart_upload_after=Duration.days(lifecycle.incomplete_upload_days),
                    expired_object_delete_marker=True,
                ),
                *(
                    s3.LifecycleRule(prefix=prefix, expiration=Duration.days(days))
                    for prefix, days in lifecycle.expire_days.items()
                ),
                # Of two rules for one object the shorter time counts.
                # https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html
                *(
                    s3.LifecycleRule(
                        prefix=prefix,
                        noncurrent_version_expiration=Duration.days(days),
                        abort_incomplete_multipart_upload_after=Duration.days(1),
                    )
                    for prefix, days in lifecycle.pruned_days.items()
                ),
            ],
            removal_policy=removal,
        )
        for bucket in (self.bucket, self.access_logs):
            policy = bucket.policy
            assert policy is not None
            # A bucket without it would take what is not sent over TLS, and the logs none.
            policy.apply_removal_policy(removal)
        if retention.destroys:
            emptier = BucketEmptier.of(self)
            emptier.empty_on_delete(self.bucket)
            # Deleted in reverse order: the log bucket is emptied when nothing is left that writes logs.
            self.bucket.node.add_dependency(emptier.empty_on_delete(self.access_logs))
        # The property itself, since `event_bridge_enabled=True` would add a Lambda function only to set it.
        resource = self.bucket.node.default_child
        assert isinstance(resource, s3.CfnBucket)
        resource.add_property_override(
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True
        )

    @staticmethod
    def from_bucket(bucket: s3.IBucket, *, key: kms.IKey | None = None) -> IDataBucket:
        """A bucket that exists, for constructs that want a data bucket.

        Args:
            bucket: Of this app or imported; how it is protected stays its owner's to say. In another account
                its owner must allow the roles too, in the policies of bucket and key.
            key: What encrypts it, unless `bucket` knows; without either it is taken to have S3's own keys.

        Example:
            >>> lake = s3.Bucket.from_bucket_name(stack, "Lake", "data-lake")
            >>> data = DataBucket.from_bucket(lake, key=kms.Key.from_key_arn(stack, "LakeKey", key_arn))
            >>> data.grant_read(role, "raw/")
        """
        return _ExistingBucket(bucket, key or bucket.encryption_key)


class _ExistingBucket(IDataBucket):
    def __init__(self, bucket: s3.IBucket, key: kms.IKey | None) -> None:
        self.bucket = bucket
        self.key = key
