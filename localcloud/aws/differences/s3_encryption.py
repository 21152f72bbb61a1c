"""Objects under a customer's KMS key need the key's permission too.

MiniStack stores them like any other. On AWS a write needs `kms:GenerateDataKey`, a read
`kms:Decrypt`, a multipart upload both, whether the request or the bucket's default names the key; and
`aws:kms` without a key means the key that AWS manages for S3, which MiniStack refuses.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html

With a bucket key the encryption context is the bucket and not the object; MiniStack knows no bucket keys.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
"""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import parse_qs, unquote

from localcloud.aws import callers
from localcloud.aws.differences import kms_use

_ALGORITHM = "x-amz-server-side-encryption"
_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
Answer = tuple[int, dict[str, str], Any]


def apply() -> None:
    """Wrap S3's reads and writes of objects."""
    from ministack.services import s3

    put, get, copy = s3._put_object, s3._get_object, s3._copy_object
    start_upload, resolve = s3._create_multipart_upload, s3._resolve_sse_write_headers
    copy_part, head = s3._upload_part_copy, s3._head_object

    def resolve_sse_write_headers(headers: dict[str, str], bucket: str) -> Any:
        if headers.get(_ALGORITHM) == "aws:kms" and not headers.get(_KEY):
            headers = {**headers, _KEY: _managed_key()}
        stored, error = resolve(headers, bucket)
        if stored and stored.get(_ALGORITHM) == "aws:kms" and _KEY not in stored:
            stored[_KEY] = _managed_key()
        if stored and stored.get(_ALGORITHM) == "aws:kms" and _wants_bucket_key(bucket, headers):
            stored[_BUCKET_KEY] = "true"
        return stored, error

    def put_object(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
        return _write_error(bucket, key, headers) or put(bucket, key, body, headers)

    def get_object(
        bucket: str, key: str, headers: dict[str, str], query_params: dict[str, Any] | None = None
    ) -> Any:
        answer: Answer = get(bucket, key, headers, query_params)
        if answer[0] in (200, 206) and (error := _read_error(bucket, key, answer[1])):
            return error
        return answer

    def create_multipart_upload(bucket: str, key: str, headers: dict[str, str]) -> Any:
        error = _write_error(bucket, key, headers) or _write_error(bucket, key, headers, "kms:Decrypt")
        return error or start_upload(bucket, key, headers)

    def source_error(headers: dict[str, str]) -> Answer | None:
        # Split before decoding, since a key may hold an encoded question mark.
        source, _, version = headers.get("x-amz-copy-source", "").lstrip("/").partition("?")
        source_bucket, _, source_key = unquote(source).partition("/")
        found: Answer = head(source_bucket, source_key, {}, parse_qs(version))
        return _read_error(source_bucket, source_key, found[1]) if found[0] == 200 else None

    def copy_object(bucket: str, key: str, headers: dict[str, str]) -> Any:
        error = source_error(headers) or _write_error(bucket, key, headers)
        return error or copy(bucket, key, headers)

    def upload_part_copy(bucket: str, key: str, query_params: dict[str, Any], headers: dict[str, str]) -> Any:
        return source_error(headers) or copy_part(bucket, key, query_params, headers)

    s3._SSE_STORED_HEADERS = (*s3._SSE_STORED_HEADERS, _BUCKET_KEY)
    s3._resolve_sse_write_headers = resolve_sse_write_headers
    s3._put_object, s3._get_object, s3._copy_object = put_object, get_object, copy_object
    s3._upload_part_copy = upload_part_copy
    s3._create_multipart_upload = create_multipart_upload


def _managed_key() -> str:
    from ministack.core.responses import get_account_id, get_region

    return f"arn:aws:kms:{get_region()}:{get_account_id()}:alias/aws/s3"


def _write_error(
    bucket: str, key: str, headers: dict[str, str], action: str = "kms:GenerateDataKey"
) -> Answer | None:
    """The error of a write that the caller's rights to the key do not allow."""
    from ministack.services import s3

    asked = headers if headers.get(_ALGORITHM) else s3._bucket_default_sse_headers(bucket)
    if asked.get(_ALGORITHM) != "aws:kms" or not asked.get(_KEY):
        return None
    return _error(action, asked[_KEY], bucket, key, bucket_key=_wants_bucket_key(bucket, headers))


def _read_error(bucket: str, key: str, found: dict[str, str]) -> Answer | None:
    """The same for a read of an object with these stored headers."""
    stored = {name.lower(): value for name, value in found.items()}
    if _KEY not in stored:
        return None
    return _error("kms:Decrypt", stored[_KEY], bucket, key, bucket_key=stored.get(_BUCKET_KEY) == "true")


def _wants_bucket_key(bucket: str, headers: dict[str, str]) -> bool:
    """Whether a write is to use the bucket's key: it says so itself, or takes the bucket's default."""
    from ministack.services import s3

    said = headers.get(_BUCKET_KEY)
    return said.lower() == "true" if said else _default_bucket_key(s3._bucket_encryption.get(bucket) or "")


@functools.lru_cache(maxsize=256)
def _default_bucket_key(configuration: str) -> bool:
    from ministack.services import s3

    if not configuration:
        return False
    found = s3.fromstring(configuration).iterfind(".//{*}BucketKeyEnabled")
    return any((element.text or "").strip().lower() == "true" for element in found)


def _error(action: str, kms_key: str, bucket: str, key: str, *, bucket_key: bool) -> Answer | None:
    from ministack.services import s3

    caller = callers.current("s3")
    if caller is None:
        return None
    bound_to = f"arn:aws:s3:::{bucket}" if bucket_key else f"arn:aws:s3:::{bucket}/{key}"
    refused = kms_use.refusal(caller, action, kms_key, "s3", {"aws:s3:arn": bound_to})
    if refused is None:
        return None
    code, message = refused
    answer: Answer = s3._error(code, message, 403 if code == "AccessDenied" else 400, f"/{bucket}/{key}")
    return answer
