"""A log stream keeps its newest events, since MiniStack keeps all of them in memory.

AWS keeps them for the group's retention; a test that writes without end must not take the machine down.
"""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)

# Characters of a stream's messages, and how many are left after a cut.
_MOST = 16_000_000
_LEFT = 12_000_000
_SIZE = "modelyard_size"


def apply() -> None:
    """Wrap the storing of events in a stream."""
    from ministack.services import cloudwatch_logs

    append = cloudwatch_logs._append_log_events

    def append_log_events(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        known = stream[_SIZE] + _size(events) if _SIZE in stream else None
        append(stream, events)
        stream[_SIZE] = _size(stream["events"]) if known is None else known
        if stream[_SIZE] > _MOST:
            with cloudwatch_logs._log_events_lock:
                _cut(stream, cloudwatch_logs._log_records)

    cloudwatch_logs._append_log_events = append_log_events


def _size(events: list[dict[str, Any]]) -> int:
    return sum(len(event["message"]) for event in events)


def _cut(stream: dict[str, Any], records: Any) -> None:
    events, size, cut = stream["events"], _size(stream["events"]), 0
    while size > _LEFT and cut < len(events) - 1:
        size -= len(events[cut]["message"])
        records.pop(events[cut]["eventId"], None)
        cut += 1
    if not cut:
        return
    # The event in its place says so to whoever reads the stream.
    note = {**events[cut - 1], "message": f"{cut} older events are left out here: the stream is too long."}
    stream["events"] = [note, *events[cut:]]
    stream[_SIZE] = _size(stream["events"])
    _log.warning("a log stream is too long; its %d oldest events were dropped", cut)
