"""S3 as the cloud itself sees it, beside all requests: no role need be allowed to look."""

from __future__ import annotations

import heapq
from typing import Any

from localcloud.context import Cloud


def exists(cloud: Cloud, bucket: str) -> bool:
    """Whether there is such a bucket."""
    return _find(cloud, bucket) is not None


def keys(cloud: Cloud, bucket: str, prefix: str, most: int) -> set[str]:
    """The first `most` keys of a bucket that begin with `prefix`; none where there is no bucket."""
    objects = (_find(cloud, bucket) or {}).get("objects", {})
    return set(heapq.nsmallest(most, (key for key in list(objects) if key.startswith(prefix))))


def _find(cloud: Cloud, bucket: str) -> dict[str, Any] | None:
    from ministack.core.responses import request_scope
    from ministack.services import s3

    with request_scope(cloud.account, cloud.region):
        found: dict[str, Any] | None = s3._ensure_bucket(bucket)
    return found
