"""Log streams keep their newest events, since MiniStack keeps all of them in memory, twice.

AWS keeps them for the group's retention; a test that writes without end must not take the machine down.
"""

from __future__ import annotations

import logging
from typing import Any

from localcloud import memory

_log = logging.getLogger(__name__)

# Bytes that an event takes beside its message, measured.
_EVENT = 450
# Bytes of a stream, and how many are left after a cut; then of all streams together.
_STREAM_MOST, _STREAM_LEFT = 16_000_000, 12_000_000
_MOST, _LEFT = 64_000_000, 60_000_000
# Bytes dropped at once, from which on it pays to give their memory back.
_GIVEN_BACK = 1_000_000
# All are counted after so many new bytes, since groups and streams are deleted, too.
_COUNTED_EVERY = 4_000_000
# Of queries, for GetLogRecord: as many as one query may answer.
_RECORDS = 10_000
_SIZE, _DROPPED = "modelyard_size", "modelyard_dropped"

Stream = dict[str, Any]


def apply() -> None:
    """Wrap the storing of events in a stream, and queries, which store a copy of all that they look at."""
    from ministack.services import cloudwatch_logs

    append, query = cloudwatch_logs._append_log_events, cloudwatch_logs._start_query
    records, lock = cloudwatch_logs._log_records, cloudwatch_logs._log_events_lock
    # What an earlier run left is counted with the first event.
    uncounted = _COUNTED_EVERY

    def append_log_events(stream: Stream, events: list[dict[str, Any]]) -> None:
        nonlocal uncounted
        append(stream, events)
        dropped = 0
        with lock:
            # The other copy of each event; a query that finds none makes it anew.
            for event in events:
                records.pop(event.get("eventId"), None)
            added = _size(events)
            stream[_SIZE] = stream[_SIZE] + added if _SIZE in stream else _size(stream["events"])
            if stream[_SIZE] > _STREAM_MOST:
                dropped += _cut(stream, _STREAM_LEFT, records)
            uncounted += added
            if uncounted > _COUNTED_EVERY:
                uncounted = 0
                dropped += _cut_all(_streams(cloudwatch_logs), records)
        if dropped > _GIVEN_BACK:
            memory.give_back()

    def start_query(data: dict[str, Any]) -> Any:
        answer = query(data)
        with lock:
            for key in list(records._data)[:-_RECORDS]:
                del records._data[key]
        return answer

    cloudwatch_logs._append_log_events = append_log_events
    cloudwatch_logs._start_query = start_query


def _streams(cloudwatch_logs: Any) -> list[Stream]:
    groups = cloudwatch_logs._log_groups._data
    return [stream for group in list(groups.values()) for stream in list(group["streams"].values())]


def _size(events: list[dict[str, Any]]) -> int:
    return sum(len(event["message"]) + _EVENT for event in events)


def _cut_all(streams: list[Stream], records: Any) -> int:
    """Cut the streams that nobody wrote to for the longest time, if all together are too long.

    Returns:
        how many bytes were dropped.
    """
    for stream in streams:
        if _SIZE not in stream:
            stream[_SIZE] = _size(stream["events"])
    total = sum(stream[_SIZE] for stream in streams)
    if total <= _MOST:
        return 0
    dropped = 0
    for stream in sorted(streams, key=lambda stream: stream["lastIngestionTime"] or 0):
        if total - dropped <= _LEFT:
            break
        dropped += _cut(stream, stream[_SIZE] - (total - dropped - _LEFT), records)
    return dropped


def _cut(stream: Stream, most: int, records: Any) -> int:
    """Drop the oldest events of a stream, all but the last one at most; returns how many bytes."""
    events, size, cut = stream["events"], stream[_SIZE], 0
    while size > most and cut < len(events) - 1:
        size -= len(events[cut]["message"]) + _EVENT
        records.pop(events[cut].get("eventId"), None)
        cut += 1
    # One of them is the note of the last cut, or makes room for it.
    if cut < 2:
        return 0
    before = stream[_SIZE]
    dropped = stream[_DROPPED] = stream.get(_DROPPED, 1) + cut - 1
    note = {**events[cut - 1], "message": f"{dropped} older events are left out here: the logs are too long."}
    stream["events"] = [note, *events[cut:]]
    stream[_SIZE] = _size(stream["events"])
    _log.warning("logs are too long; the %d oldest events of a stream were dropped", cut)
    return int(before - stream[_SIZE])
