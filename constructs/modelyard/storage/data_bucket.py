"""A bucket for data and models, encrypted, versioned, logged, and granted prefix by prefix."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from modelyard.permissions import acknowledge, allow
from modelyard.storage.bucket_emptier import BucketEmptier
from modelyard.storage.props import Lifecycle, Retention

_KEYS_REASON = "Object keys below {prefixes} are chosen at run time; the grant ends at the prefix."


class DataBucket(Construct):
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
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
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
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="data/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(lifecycle.noncurrent_days),
                    abort_incomplete_multipart_upload_after=Duration.days(lifecycle.incomplete_upload_days),
                    expired_object_delete_marker=True,
                )
            ],
            removal_policy=removal,
        )
        for bucket in (self.bucket, self.access_logs):
            assert bucket.policy is not None
            # A bucket without it would take what is not sent over TLS, and the logs none.
            bucket.policy.apply_removal_policy(removal)
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

    @property
    def bucket_name(self) -> str:
        """Name of the data bucket."""
        return self.bucket.bucket_name

    @property
    def bucket_arn(self) -> str:
        """ARN of the data bucket."""
        return self.bucket.bucket_arn

    def grant_read(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Allow listing and reading below each prefix, for example `grant_read(role, "raw/", "batch/")`.

        Raises:
            ValueError: No prefix, or one that is not a folder such as `raw/`.
        """
        self._grant_list(grantee, _checked(prefixes))
        self._grant_objects(grantee, prefixes, ["s3:GetObject"])
        self._grant_key(grantee, ["kms:Decrypt"])

    def grant_write(self, grantee: iam.IGrantable, *prefixes: str, multipart: bool = True) -> None:
        """Allow creating and overwriting (not deleting) objects below each prefix.

        Args:
            grantee: Who may write.
            prefixes: For example `raw/`.
            multipart: Whether large objects come in parts, as from boto3's `upload_file` and from SageMaker:
                who starts such an upload must be able to give it up.

        Raises:
            ValueError: No prefix, or one that is not a folder such as `raw/`.
        """
        give_up = ["s3:AbortMultipartUpload"] if multipart else []
        self._grant_objects(grantee, _checked(prefixes), ["s3:PutObject", *give_up])
        # S3 decrypts the parts of a multipart upload when it assembles them.
        self._grant_key(grantee, ["kms:GenerateDataKey", *(["kms:Decrypt"] if multipart else [])])

    def grant_read_write(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Both :meth:`grant_read` and :meth:`grant_write`."""
        self.grant_read(grantee, *prefixes)
        self.grant_write(grantee, *prefixes)

    def grant_delete(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Allow deleting objects below each prefix; versioning keeps what was deleted for a while.

        Raises:
            ValueError: No prefix, or one that is not a folder such as `raw/`.
        """
        self._grant_objects(grantee, _checked(prefixes), ["s3:DeleteObject"])

    def _grant_list(self, grantee: iam.IGrantable, prefixes: Sequence[str]) -> None:
        # Clients list a folder with and without its slash, and single keys below it.
        listed = [pattern for prefix in prefixes for pattern in (prefix.rstrip("/"), f"{prefix}*")]
        allow(
            grantee,
            actions=["s3:ListBucket"],
            resources=[self.bucket_arn],
            conditions={"StringLike": {"s3:prefix": listed}},
        )

    def _grant_objects(
        self, grantee: iam.IGrantable, prefixes: Sequence[str], actions: Sequence[str]
    ) -> None:
        allow(
            grantee,
            actions=actions,
            resources=[self.bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes],
            reason=_KEYS_REASON.format(prefixes=", ".join(prefixes)),
        )

    def _grant_key(self, grantee: iam.IGrantable, actions: Sequence[str]) -> None:
        allow(grantee, actions=actions, resources=[self.key.key_arn])


def _checked(prefixes: Sequence[str]) -> Sequence[str]:
    if not prefixes:
        raise ValueError(
            "name at least one prefix, for example 'raw/'; grants on the whole bucket are not offered"
        )
    for prefix in prefixes:
        if not prefix.endswith("/") or prefix.startswith("/") or "*" in prefix or len(prefix) < 2:
            raise ValueError(
                f"prefix {prefix!r} is not a folder: write it as 'raw/', without leading slash or wildcard"
            )
    return prefixes
