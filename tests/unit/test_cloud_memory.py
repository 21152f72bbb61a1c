"""What the local cloud keeps in memory has bounds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge

from localcloud import context, memory, tls
from localcloud.aws.differences import bounded_memory, log_streams
from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder
from localcloud.sagemaker.pipelines import execution


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MiniStack's service with our bounds, a thousandth of the real ones."""
    for name in ("_append_log_events", "_start_query"):
        monkeypatch.setattr(cloudwatch_logs, name, getattr(cloudwatch_logs, name))
    for name in ("_STREAM_MOST", "_STREAM_LEFT", "_MOST", "_LEFT", "_COUNTED_EVERY", "_RECORDS"):
        monkeypatch.setattr(log_streams, name, getattr(log_streams, name) // 1000)
    log_streams.apply()
    yield cloudwatch_logs
    cloudwatch_logs.reset()


def write(logs: Any, stream: str, *messages: str, time: int = 0) -> None:
    logs._create_log_group({"logGroupName": "/g"})
    logs._create_log_stream({"logGroupName": "/g", "logStreamName": stream})
    events = [{"timestamp": time, "message": message} for message in messages]
    logs._put_log_events({"logGroupName": "/g", "logStreamName": stream, "logEvents": events})


def read(logs: Any, stream: str) -> list[str]:
    request = {"logGroupName": "/g", "logStreamName": stream, "startFromHead": True}
    return [event["message"] for event in json.loads(logs._get_log_events(request)[2])["events"]]


def taken(logs: Any) -> int:
    return sum(
        len(event["message"]) + log_streams._EVENT
        for stream in log_streams._streams(logs)
        for event in stream["events"]
    )


def _cloud(folder: Path) -> Cloud:
    return Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=folder / "ca.pem",
        folder=StateFolder(folder),
    )


def test_a_stream_of_short_lines_is_bounded_too(logs: Any) -> None:
    for number in range(200):
        write(logs, "s", str(number))
    assert taken(logs) <= log_streams._STREAM_MOST
    messages = read(logs, "s")
    assert messages[-1] == "199"
    left_out = int(messages[0].split()[0])
    assert messages[1] == str(left_out)
    assert left_out + len(messages) - 1 == 200


def test_all_streams_together_are_bounded_and_the_oldest_give_way(
    logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1, 1000))
    monkeypatch.setattr(cloudwatch_logs.time, "time", lambda: float(next(clock)))
    for number in range(40):
        write(logs, f"s{number}", *(f"{number}.{line}" for line in range(10)))
        assert taken(logs) <= log_streams._MOST + log_streams._COUNTED_EVERY
    # No more is dropped than has to be.
    assert taken(logs) > log_streams._LEFT - 1000
    assert len(read(logs, "s39")) == 10
    assert read(logs, "s0") == ["9 older events are left out here: the logs are too long.", "0.9"]


def test_memory_is_given_back_when_much_was_dropped(logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(log_streams, "_GIVEN_BACK", 2000)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    for number in range(30):
        write(logs, "s", str(number))
    assert not given
    for number in range(10):
        write(logs, "s", str(number))
    assert given == [1]


def test_an_event_is_kept_once_and_queries_find_it(logs: Any) -> None:
    write(logs, "s", *(f"line {number}" for number in range(12)), time=1000)
    assert not logs._log_records._data
    query = {"logGroupName": "/g", "startTime": 0, "endTime": 10, "queryString": "fields @message, @ptr"}
    query_id = json.loads(logs._start_query(query)[2])["queryId"]
    results = json.loads(logs._get_query_results({"queryId": query_id})[2])["results"]
    assert len(results) == 12
    assert len(logs._log_records._data) == log_streams._RECORDS == 10
    pointer = next(field["value"] for field in results[-1] if field["field"] == "@ptr")
    record = json.loads(logs._get_log_record({"logRecordPointer": pointer})[2])["logRecord"]
    assert record["@message"] == "line 11"


def test_points_of_a_metric_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudwatch, "_metric_bucket", cloudwatch._metric_bucket)
    monkeypatch.setattr(cloudwatch, "_evict_old_metrics", cloudwatch._evict_old_metrics)
    monkeypatch.setattr(eventbridge, "_events_log_list", eventbridge._events_log_list)
    monkeypatch.setattr(bounded_memory, "_POINTS_MOST", 20)
    monkeypatch.setattr(bounded_memory, "_POINTS_LEFT", 15)
    monkeypatch.setattr(bounded_memory, "_MERGED_FROM", 8)
    monkeypatch.setattr(bounded_memory, "_FRESH", 4)
    bounded_memory.apply(_cloud(tmp_path))
    for number in range(100):
        cloudwatch._store_datum("N", "m", {}, float(number), "None", float(number), None, None, None)
    points = cloudwatch._metric_bucket(("N", "m", cloudwatch._dims_key({})))
    assert 10 <= len(points) <= 30
    assert points[-1]["Value"] == 99.0
    cloudwatch.reset()


@pytest.fixture
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`bounded_memory`, applied to MiniStack until the test ends."""
    for module, name in (
        (cloudwatch, "_metric_bucket"),
        (cloudwatch, "_evict_old_metrics"),
        (eventbridge, "_events_log_list"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    cloudwatch.reset()
    bounded_memory.apply(_cloud(tmp_path))
    yield bounded_memory
    cloudwatch.reset()


def _count(name: str) -> float:
    points = cloudwatch._metrics.get(("N", name, cloudwatch._dims_key({}))) or []
    return float(sum(point.get("Count", 1.0) for point in points))


def test_a_point_that_comes_while_others_become_one_is_kept(
    bounded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("N", "m", cloudwatch._dims_key({}))
    merged = bounded.merged

    def late(points: Any, minute: float) -> Any:
        found = merged(points, minute)
        for _ in range(300):
            cloudwatch.record_metric("N", "m", 2.0)
        return found

    monkeypatch.setattr(bounded, "merged", late)
    for _ in range(bounded._MERGED_FROM):
        cloudwatch.record_metric("N", "m", 1.0)
    cloudwatch._metric_bucket(key)
    assert _count("m") == bounded._MERGED_FROM + 300


def test_a_point_that_comes_while_old_ones_are_taken_out_is_kept(bounded: Any) -> None:
    class Old(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            if name == "Timestamp" and not came:
                came.append(True)
                cloudwatch.record_metric("N", "m", 2.0)
            return super().__getitem__(name)

    came: list[bool] = []
    cloudwatch._metric_bucket(("N", "m", cloudwatch._dims_key({}))).append(Old(Timestamp=0.0, Value=1.0))
    cloudwatch._evict_old_metrics()
    points = cloudwatch._metrics.get(("N", "m", cloudwatch._dims_key({})))
    assert [point["Value"] for point in points] == [2.0]
    # One that was just made, and gets its first point in a moment.
    fresh = cloudwatch._metric_bucket(("N", "new", cloudwatch._dims_key({})))
    cloudwatch._evict_old_metrics()
    fresh.append({"Timestamp": 0.0})
    assert _count("new") == 1


def test_no_point_of_many_threads_is_lost(bounded: Any) -> None:
    """They merge, evict and append all at once."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(4):
                threads.submit(lambda: [cloudwatch.record_metric("N", "m", 1.0) for _ in range(2000)])
            for _ in range(200):
                cloudwatch._evict_old_metrics()
    finally:
        sys.setswitchinterval(switch)
    assert _count("m") == 8000


def test_events_that_nobody_reads_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudwatch, "_metric_bucket", cloudwatch._metric_bucket)
    monkeypatch.setattr(cloudwatch, "_evict_old_metrics", cloudwatch._evict_old_metrics)
    monkeypatch.setattr(eventbridge, "_events_log_list", eventbridge._events_log_list)
    bounded_memory.apply(_cloud(tmp_path))
    entry = {"Source": "test", "DetailType": "test", "Detail": "{}"}
    assert json.loads(eventbridge._put_events({"Entries": [entry] * 5})[2])["FailedEntryCount"] == 0
    assert not eventbridge._events_log._data
    eventbridge.reset()


def test_clients_are_bounded_and_those_of_ended_sessions_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = context._Clients()

    def kept() -> list[str]:
        return sorted(credentials.access_key_id for *_, credentials in clients._kept)

    monkeypatch.setattr(context._Clients, "_create", lambda *_: SimpleNamespace())
    monkeypatch.setattr(context, "_clients", clients)
    monkeypatch.setattr(context, "_CLIENTS_KEPT", 3)
    moment = datetime.now(UTC)
    cloud = _cloud(tmp_path)

    def client(key: str, minutes: int) -> Any:
        end = moment + timedelta(minutes=minutes)
        return cloud.client("s3", Credentials(access_key_id=key, secret_access_key="s", expiration=end))

    assert client("a", 60) is client("a", 60)
    client("old", -60)
    client("b", 60)
    assert kept() == ["a", "b"]
    client("c", 60)
    client("a", 60)
    client("d", 60)
    assert kept() == ["a", "c", "d"]


def test_clients_of_one_cloud_share_their_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_clients", context._Clients())
    files = tls.ensure(tmp_path / "tls", "us-east-1")
    cloud = Cloud(
        account="000000000000",
        region="us-east-1",
        endpoint_url="https://localhost:1",
        ca_bundle=files.bundle,
        folder=StateFolder(tmp_path),
    )
    one, other = (Credentials(access_key_id=name, secret_access_key="s") for name in ("a", "b"))
    first = cloud.client("s3", one)._endpoint.http_session
    assert cloud.client("sqs", other)._endpoint.http_session is first
    # Functions may take longer than anything else, and have a time limit of their own.
    assert cloud.client("lambda", one)._endpoint.http_session is not first


def test_clients_of_a_session_that_is_over_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution has a session of its own; each of its clients takes about a megabyte."""
    clients, cloud = context._Clients(), _cloud(tmp_path)
    monkeypatch.setattr(context._Clients, "_create", lambda *_: SimpleNamespace())
    monkeypatch.setattr(context, "_clients", clients)
    monkeypatch.setattr(
        execution,
        "assume_role",
        lambda *_, session, **__: Credentials(access_key_id=session, secret_access_key="s"),
    )
    one, other = (execution.RoleSession(cloud, "arn:role", name, "arn:pipeline") for name in ("one", "other"))
    for session in (one, other):
        session.client("s3")
        session.client("sagemaker")
    one.close()
    assert {kept[-1].access_key_id for kept in clients._kept} == {"other"}
