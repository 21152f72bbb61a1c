"""What the ledger holds of an image, one record for each name: the newest that became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from training.vision.shards import Entry

IMAGE, QUARANTINED, DELETED = "image", "quarantined", "deleted"
# DynamoDB's items have at most 400 kB, and a reason is one line.
MAX_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of an object's version.

    `state`: IMAGE (it lies in a shard), QUARANTINED (`reason` says why not) or DELETED (kept, so that a late
    event of an older version brings nothing back). `order`: see `events.Change`. `recipe`: the settings it
    was prepared with. Of an image: `digest`, the SHA-256 of the uploaded bytes; `key`, what orders it in
    training; `label`, its class; `split`; and `size` bytes from `offset` on in the object `shard`.
    """

    name: str
    order: str
    state: str
    recipe: str
    reason: str = ""
    digest: str = ""
    key: str = ""
    label: str = ""
    split: str = ""
    shard: str = ""
    offset: int = 0
    size: int = 0

    def in_shard(self, shard: str, entry: Entry) -> Record:
        return replace(self, shard=shard, offset=entry.offset, size=entry.size)
