"""Shards that nothing names: of workers that died before they claimed, and of images that were replaced.

A shard is deleted when two looks, at least `grace` apart, found it in neither the ledger nor a manifest, and
its day is over for as long. So a worker has time to claim what it stored, and a manifest, made of a ledger
that changes meanwhile, time to be written. The looks are remembered in the bucket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from training.common.failure import UserError
from training.preprocessing.documents import named_shards, read_manifest
from training.preprocessing.ports import Records, Store
from training.preprocessing.records import IMAGE

DAY = 24 * 3600.0
# Far longer than a worker may take to claim (batch.CLAIM_WITHIN), and a manifest to be written.
MIN_GRACE = DAY
SHARD_KEY = re.compile(r"/shards/(\d{4}-\d{2}-\d{2})/[0-9a-f]{64}\.tar$")
MAX_DOCUMENT = 1 << 31


def collect(records: Records, store: Store, output: str, now: float, grace: float) -> tuple[int, int]:
    """Delete old garbage, and remember the new.

    A dataset that is no longer needed goes this way too: delete its manifest and its records.

    Args:
        records: the ledger's.
        store: the bucket of the output.
        output: the prefix of shards and manifests, which one dataset alone uses.
        now: seconds since 1970.
        grace: seconds, at least a day.

    Returns:
        How many shards were deleted, and how many wait.

    Raises:
        UserError: `grace` is too short.
    """
    if grace < MIN_GRACE:
        raise UserError(f"the grace period must be at least {MIN_GRACE / 3600:.0f} hours")
    marks_key = f"{output}/garbage.json"
    # First the shards, then who names them: what is stored in between is not looked at.
    stored = [item.key for item in store.list(f"{output}/shards/")]
    # To who may list some names only, S3 says that an object is forbidden where there is none.
    known = any(item.key == marks_key for item in store.list(marks_key))
    marks = _read_marks(store.get(marks_key, None, MAX_DOCUMENT) if known else None)
    named = {record.shard for record in records.all() if record.state == IMAGE}
    for item in store.list(f"{output}/manifests/"):
        data = store.get(item.key, None, MAX_DOCUMENT)
        if data is not None:
            named |= named_shards(read_manifest(data).document)
    doomed, waiting = sweep(stored, named, marks, now, grace)
    store.delete(doomed)
    store.put(marks_key, json.dumps(waiting, sort_keys=True).encode() + b"\n")
    return len(doomed), len(waiting)


def sweep(
    stored: Iterable[str], named: set[str], marks: Mapping[str, float], now: float, grace: float
) -> tuple[list[str], dict[str, float]]:
    """What to delete, and since when the rest of the garbage is known.

    Example:
        >>> shard = f"out/shards/1970-01-01/{'0' * 64}.tar"
        >>> sweep([shard], set(), {shard: 0.0}, now=3 * DAY, grace=DAY)[1]
        {}
    """
    doomed, waiting = [], {}
    for key in stored:
        found = SHARD_KEY.search(key)
        if key in named or not found:
            continue
        since = marks.get(key, now)
        day_ends = datetime.strptime(found[1], "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + DAY
        if max(since, day_ends) + grace <= now:
            doomed.append(key)
        else:
            waiting[key] = since
    return doomed, waiting


def _read_marks(data: bytes | None) -> dict[str, float]:
    if data is None:
        return {}
    try:
        return {str(key): float(since) for key, since in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"garbage.json is damaged ({error}): delete it, the looks then begin anew") from error
