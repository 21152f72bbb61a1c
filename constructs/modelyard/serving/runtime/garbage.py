"""Which artifacts may go, and when. Pure: record and listing in, what to note and to delete out.

An artifact that no record needs is noted in ``unused`` with the moment that was seen, and stays for a grace
period from then on: callers remember for a while which artifact serves. After it, it is noted in
``deleting``, by a conditional write like any other, and deleted only once that write has succeeded.

Why no race deletes what is needed: a reconcile never uses an artifact whose name is noted in ``deleting`` (it
makes one under another name), so whoever deletes has written a record that does not need it, and no later
record does. The note stays for longer than any function can run, so that a delayed deletion finds nothing new
under that name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# Longer than Lambda lets a function run (900 s) and longer than clients go on trying.
LONGEST_RUN = timedelta(hours=1)
# What one reconcile notes at most, so that a record stays far below DynamoDB's 400 KB.
_MOST = 500
_OURS = re.compile(r"[^/]+/[0-9]+-[0-9a-f]{12}(-[0-9]+)?\.tar\.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What to write into the record, and then to delete."""

    unused: dict[str, str]
    deleting: dict[str, str]


def sweep(
    *,
    needed: frozenset[str],
    present: frozenset[str],
    unused: Mapping[str, str],
    deleting: Mapping[str, str],
    now: str,
    grace_seconds: float,
) -> Notes:
    """The notes of the next record.

    Args:
        needed: Artifacts of the next record.
        present: Artifacts in the bucket; others than the deployer's own, by their names, are left alone.
        unused, deleting: Notes of the record before.
        now: The moment, ISO 8601.
        grace_seconds: How long an artifact stays that nobody needs.
    """
    moment = parsed(now)
    # Noted anew by everyone who is about to delete it.
    kept = {name: now for name in deleting if name in present}
    kept |= {n: at for n, at in deleting.items() if n not in kept and moment - parsed(at) < LONGEST_RUN}
    idle: dict[str, str] = {}
    for name in sorted(present - needed - kept.keys()):
        if len(idle) + len(kept) >= _MOST:
            break
        if not _OURS.fullmatch(name):
            continue
        since = unused.get(name, now)
        if moment - parsed(since) >= timedelta(seconds=grace_seconds):
            kept[name] = now
        else:
            idle[name] = since
    return Notes(unused=idle, deleting=kept)


def parsed(moment: str) -> datetime:
    """A moment of a record; what cannot be read counts as long ago."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
