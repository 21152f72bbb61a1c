"""What a message of the queue says: which object changed, and how its events are ordered.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from training.common.images import SUFFIXES

# S3 promises no length. Its sequencers have 16 to 18 digits; they are stored with room to spare.
ORDER_DIGITS = 64
SEQUENCER = re.compile(rf"[0-9A-Fa-f]{{1,{ORDER_DIGITS}}}")
CREATED, DELETED = "Object Created", "Object Deleted"
# Of a notification the first word of `eventName`; what a lifecycle rule expires is deleted.
FAMILIES = {"ObjectCreated": CREATED, "ObjectRemoved": DELETED, "LifecycleExpiration": DELETED}
MAX_KEY_BYTES = 1024


class PoisonError(ValueError):
    """A message that nobody can work on; the text says why. It is left to the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset's images lie: `<prefix>/<class>/<name>.jpg` in `bucket`.

    Example:
        >>> Source("data", "dogs").key("terrier/1.jpg")
        'dogs/terrier/1.jpg'
    """

    bucket: str
    prefix: str

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object that came, changed or went.

    `name`: its key below the dataset's prefix; `order`: of two changes of an object the later one has the
    greater; `version`: which version to read, None for the current one, or for whether there is one;
    `size`: bytes, 0 where the event does not say.
    """

    name: str
    order: str
    version: str | None = None
    size: int = 0

    @property
    def misplaced(self) -> bool:
        """It is an image, but lies in no class folder, or deeper."""
        folder, _, file = self.name.partition("/")
        return not folder or not file or "/" in file


def order_of(sequencer: str) -> str:
    """A sequencer in a form that compares as text, as DynamoDB does.

    S3 says how: the shorter one is filled with zeros on the right.

    Raises:
        PoisonError: it is not a hexadecimal number.

    Example:
        >>> order_of("0055AED6DCD90281E5") < order_of("0055aed6dcd90281e6")
        True
    """
    if not SEQUENCER.fullmatch(sequencer):
        raise PoisonError(f"sequencer {sequencer[:80]!r} is not a hexadecimal number")
    return sequencer.upper().ljust(ORDER_DIGITS, "0")


def changes_in(body: str, source: Source) -> list[Change]:
    """The changes of images that a message tells of; none for other files, hidden ones, and S3's test event.

    Both forms are understood: an event of EventBridge, and a notification that S3 sent itself.

    Args:
        body: the message's text.
        source: the dataset's place; changes elsewhere are a mistake in the wiring.

    Raises:
        PoisonError: the message is neither, or is of another place.

    Example:
        >>> changes_in('{"Service": "Amazon S3", "Event": "s3:TestEvent"}', Source("data", "dogs"))
        []
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise PoisonError("is not JSON") from None
    if not isinstance(document, Mapping):
        raise PoisonError("is not an event of S3")
    if document.get("Event") == "s3:TestEvent":
        return []
    try:
        if document.get("source") == "aws.s3":
            found = [_bridged(document, source)]
        else:
            found = [_notified(record, source) for record in document["Records"]]
        return [change for change in found if _is_image(change.name)]
    except PoisonError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PoisonError(f"is not an event of S3: {type(error).__name__} {error}") from None


def _bridged(document: Mapping[str, Any], source: Source) -> Change:
    detail = document["detail"]
    bucket, item = detail["bucket"]["name"], detail["object"]
    return _change(document["detail-type"], bucket, item["key"], item, item.get("version-id"), source)


def _notified(record: Mapping[str, Any], source: Source) -> Change:
    if record["eventSource"] != "aws:s3":
        raise PoisonError(f"is an event of {str(record['eventSource'])[:80]!r}, not of S3")
    name, bucket, item = record["eventName"], record["s3"]["bucket"]["name"], record["s3"]["object"]
    kind = FAMILIES.get(name.removeprefix("s3:").partition(":")[0], name)
    return _change(kind, bucket, unquote_plus(item["key"]), item, item.get("versionId"), source)


def _change(
    kind: str, bucket: str, key: str, item: Mapping[str, Any], version: Any, source: Source
) -> Change:
    if kind not in (CREATED, DELETED):
        raise PoisonError(f"tells of {kind[:80]!r}, which is neither {CREATED!r} nor {DELETED!r}")
    start = source.key("")
    if bucket != source.bucket or not key.startswith(start):
        place = f"s3://{bucket}/{key}"
        raise PoisonError(
            f"is of {place!r}, not below 's3://{source.bucket}/{start}': "
            "correct the rule that fills the queue"
        )
    if len(key.encode()) > MAX_KEY_BYTES:
        raise PoisonError(f"its key has more than {MAX_KEY_BYTES} bytes")
    created = kind == CREATED
    return Change(
        name=key.removeprefix(start),
        order=order_of(item["sequencer"]),
        # After a deletion an older version may be the current one: whoever reads looks at what is there.
        version=str(version) if version and created else None,
        size=int(item.get("size") or 0) if created else 0,
    )


def _is_image(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and name.lower().endswith(SUFFIXES)
