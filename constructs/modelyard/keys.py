"""Conditions on the use of KMS keys."""

from __future__ import annotations

from functools import cache

from aws_cdk import Aws


@cache
def only_through(service: str) -> dict[str, dict[str, str]]:
    """The condition that a key is used by a service on the caller's behalf, never by the caller directly.

    So what else is encrypted under the key, such as a snapshot of a volume, stays closed to who may read the
    bucket or the table.

    Args:
        service: For example `s3`.

    See https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    return {"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com"}}
