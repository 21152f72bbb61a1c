"""What a request to S3 needs beside the permission on its object.

Tags, an access control list and a lock that come with an object need their own permissions, deleting a
version in a batch needs that of the version, and who may not list a bucket is not told that an object is
missing. MiniStack asks for none of these.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from typing import Any

from localcloud.aws import callers, identity

_BY_HEADER = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-grant-read": "s3:PutObjectAcl",
    "x-amz-grant-read-acp": "s3:PutObjectAcl",
    "x-amz-grant-write-acp": "s3:PutObjectAcl",
    "x-amz-grant-full-control": "s3:PutObjectAcl",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
Checks = list[tuple[str, str]]
Answer = tuple[int, dict[str, str], Any]


def apply() -> None:
    """Add the permissions to those that MiniStack asks for, and hide what is missing."""
    from ministack.core import iam_actions
    from ministack.services import s3

    checks, get, head = iam_actions.s3_additional_checks, s3._get_object, s3._head_object

    def s3_additional_checks(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Checks:
        asked: Checks = checks(method, path, headers, body, query_params)
        return asked + _more(method, path, headers, body, query_params)

    def get_object(
        bucket: str, key: str, headers: dict[str, str], query_params: dict[str, Any] | None = None
    ) -> Any:
        answer: Answer = get(bucket, key, headers, query_params)
        return _hidden(bucket, key, query_params, answer) or answer

    def head_object(
        bucket: str, key: str, headers: dict[str, str] | None = None,
        query_params: dict[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        answer: Answer = head(bucket, key, headers, query_params)
        hidden = _hidden(bucket, key, query_params, answer)
        return (hidden[0], hidden[1], b"") if hidden else answer

    iam_actions.s3_additional_checks = s3_additional_checks
    s3._get_object, s3._head_object = get_object, head_object


def _more(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Checks:
    from ministack.core import iam_actions

    bucket, _, key = path.lstrip("/").partition("/")
    if key and iam_actions._s3_action(method, path, query_params) == "PutObject":
        actions = {action for header, action in _BY_HEADER.items() if headers.get(header)}
        return [(action, f"arn:aws:s3:::{bucket}/{key}") for action in sorted(actions)]
    if bucket and not key and method == "POST" and "delete" in query_params:
        # MiniStack asks for the others itself, and for the first as if it named no version.
        first = iam_actions._s3_batch_delete_targets(bucket, body)[:1]
        return [("s3:DeleteObjectVersion", arn) for arn, version in first if version]
    return []


def _hidden(bucket: str, key: str, query_params: dict[str, Any] | None, answer: Answer) -> Answer | None:
    """The answer to somebody who may not know that there is no such object."""
    from ministack.services import s3

    caller = callers.current("s3")
    named_version = "versionId" in (query_params or {})
    if answer[0] != 404 or caller is None or named_version or s3._ensure_bucket(bucket) is None:
        return None
    try:
        # Without `s3:prefix`, which only a listing has.
        identity.require(callers.identity_of(caller), "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    except identity.AccessDenied as denied:
        hidden: Answer = s3._error("AccessDenied", denied.message, 403, f"/{bucket}/{key}")
        return hidden
    return None
