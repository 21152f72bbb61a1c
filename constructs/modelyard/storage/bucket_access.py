"""Access to a data bucket, prefix by prefix."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from modelyard.keys import only_through
from modelyard.permissions import allow
from modelyard.storage.props import check_folder

_KEYS_REASON = "Object keys are chosen at run time; the grant ends at {keys}."


class IDataBucket:
    """What constructs ask for that read or write data: a `DataBucket`, or `DataBucket.from_bucket(...)`.

    Attributes:
        bucket: The bucket.
        key: What encrypts it; None for S3's own keys, which need no grants.
    """

    bucket: s3.IBucket
    key: kms.IKey | None

    # Cached, since each asks Node, and grants ask for them again and again.
    @functools.cached_property
    def bucket_name(self) -> str:
        """Name of the data bucket."""
        return self.bucket.bucket_name

    @functools.cached_property
    def bucket_arn(self) -> str:
        """ARN of the data bucket."""
        return self.bucket.bucket_arn

    @functools.cached_property
    def key_arn(self) -> str | None:
        """ARN of the key, if there is one."""
        return self.key.key_arn if self.key else None

    def grant_read(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Allow listing and reading below each prefix, for example `grant_read(role, "raw/", "batch/")`.

        Raises:
            ValueError: No prefix, or one that is not a folder such as `raw/`.
        """
        self._grant_list(grantee, _checked(prefixes))
        self._grant_objects(grantee, prefixes, ["s3:GetObject"])
        self._grant_key(grantee, ["kms:Decrypt"])

    def grant_get(self, grantee: iam.IGrantable, *keys: str) -> None:
        """Allow reading, not listing, objects whose keys are known but for some `*`.

        Example:
            >>> data.grant_get(role, "pipelines/refinance/*/model.tar.gz")

        Raises:
            ValueError: No key, or one that does not begin with a folder such as `raw/`.
        """
        _checked([f"{key.partition('/')[0]}/" for key in keys])
        self._grant_keys(grantee, keys, ["s3:GetObject"])
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
        self._grant_keys(grantee, [f"{prefix}*" for prefix in prefixes], actions)

    def _grant_keys(self, grantee: iam.IGrantable, keys: Sequence[str], actions: Sequence[str]) -> None:
        arn = self.bucket_arn
        allow(
            grantee,
            actions=actions,
            resources=[f"{arn}/{key}" for key in keys],
            reason=_KEYS_REASON.format(keys=", ".join(keys)),
        )

    def _grant_key(self, grantee: iam.IGrantable, actions: Sequence[str]) -> None:
        if self.key_arn:
            allow(grantee, actions=actions, resources=[self.key_arn], conditions=only_through("s3"))


def _checked(prefixes: Sequence[str]) -> Sequence[str]:
    if not prefixes:
        raise ValueError(
            "name at least one prefix, for example 'raw/'; grants on the whole bucket are not offered"
        )
    for prefix in prefixes:
        check_folder(prefix)
    return prefixes
