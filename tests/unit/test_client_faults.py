"""The client when the network and the function fail: what is tried again, and for how long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard_client import Client, UnavailableError
from modelyard_client.batches import batches
from modelyard_client.errors import of_answer
from modelyard_client.transport import Transport
from tests.unit.client_server import Server, answer, cut_off, drip, hang, predictions, refusal, reset, serve

ROWS = [{"a": 1}]
KEYS = SimpleNamespace(
    get_frozen_credentials=lambda: SimpleNamespace(access_key="AKID", secret_key="s", token=None)
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(running.ca_bundle))
    running.asked.clear()
    return running


def client_of(server: Server, **settings: Any) -> Client:
    return Client(server.url, credentials=KEYS, region="us-east-1", **settings)


@pytest.mark.parametrize(
    "fault",
    [
        reset,
        cut_off,
        refusal(503, "not_ready"),
        answer(502, b"Internal Server Error"),
        answer(504, b""),
        answer(429, {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}),
    ],
)
def test_a_fault_that_passes_is_not_noticed(server: Server, fault: Any) -> None:
    server.then(fault, fault, predictions(1.0))
    with client_of(server) as client:
        assert client.predict("m", ROWS).predictions == (1.0,)
    assert len(server.asked) == 3


def test_a_fault_that_stays_ends_with_the_attempts(server: Server) -> None:
    server.then(answer(502, b"Internal Server Error"))
    with client_of(server, max_attempts=3) as client, pytest.raises(UnavailableError) as raised:
        client.predict("m", ROWS)
    assert (raised.value.code, raised.value.status, len(server.asked)) == ("unavailable", 502, 3)


@pytest.mark.parametrize("slow", [hang(60), drip])
def test_a_slow_answer_ends_with_the_deadline(server: Server, slow: Any) -> None:
    server.then(slow)
    begun = time.monotonic()
    with (
        client_of(server, deadline_seconds=0.5) as client,
        pytest.raises(UnavailableError, match="no_answer"),
    ):
        client.predict("m", ROWS)
    assert time.monotonic() - begun < 30


def test_nobody_listens() -> None:
    begun = time.monotonic()
    url = "https://127.0.0.1:9/"
    with (
        Client(url, credentials=KEYS, region="us-east-1", deadline_seconds=1) as client,
        pytest.raises(UnavailableError, match="no_answer"),
    ):
        client.predict("m", ROWS)
    # All attempts together pause for 13 s at least.
    assert time.monotonic() - begun < 10
    with Client(url, credentials=KEYS, region="us-east-1", deadline_seconds=0.1) as client:
        assert not client.health()


def test_retry_after_is_kept_to(server: Server) -> None:
    server.then(refusal(503, "not_ready", retry_after="1"), predictions(1.0))
    begun = time.monotonic()
    with client_of(server) as client:
        client.predict("m", ROWS)
    assert time.monotonic() - begun >= 1


def test_a_pause_beyond_the_deadline_is_not_begun(server: Server) -> None:
    server.then(refusal(503, "not_ready", retry_after="30"))
    begun = time.monotonic()
    with client_of(server, deadline_seconds=25) as client, pytest.raises(UnavailableError) as raised:
        client.predict("m", ROWS)
    assert time.monotonic() - begun < 20
    assert raised.value.retry_after == 30


def test_threads_share_a_client(server: Server) -> None:
    server.then(predictions(1.0))
    together = threading.Barrier(4)

    def ask(client: Client) -> None:
        together.wait()
        for _ in range(5):
            client.predict("m", ROWS)

    with client_of(server) as client, ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ask, client) for _ in range(4)]:
            done.result()
    assert len(server.asked) == 20
    assert len({asked.port for asked in server.asked}) <= 4


class _Failing(Transport):
    """Fails as it is told, without a network; time passes only in pauses."""

    def __init__(self, faults: list[float | None], deadline: float, attempts: int) -> None:
        self.now, self.pauses, self.attempts = 0.0, list[float](), 0
        self._faults = faults
        self._deadline_seconds, self._max_attempts = deadline, attempts
        self._clock = lambda: self.now
        self._sleep = self._pass

    def _pass(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def _once(self, *_: Any) -> bytes:
        self.attempts += 1
        if self.attempts > len(self._faults):
            return b"{}"
        raise UnavailableError("unavailable", "", retry_after=self._faults[self.attempts - 1])


@given(
    faults=st.lists(st.none() | st.floats(0, 100), max_size=12),
    deadline=st.floats(0.1, 200),
    attempts=st.integers(1, 12),
)
def test_no_pause_is_too_short_and_none_outlasts_the_deadline(
    faults: list[float | None], deadline: float, attempts: int
) -> None:
    transport = _Failing(faults, deadline, attempts)
    failed = False
    try:
        transport.call("GET", "/")
    except UnavailableError:
        failed = True
    assert transport.now <= deadline
    assert transport.attempts <= attempts
    for asked, pause in zip(faults, transport.pauses, strict=False):
        assert 0.1 <= pause <= max(5.0, asked or 0.0)
        assert pause >= (asked or 0.0)
    if not failed:
        assert transport.attempts == len(faults) + 1


_ROWS = st.lists(
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=40), max_size=4),
    max_size=40,
)


@given(rows=_ROWS, max_rows=st.integers(1, 10), max_bytes=st.integers(40, 400))
def test_batches_hold_every_row_once_in_order_within_the_limits(
    rows: list[dict[str, Any]], max_rows: int, max_bytes: int
) -> None:
    cut = list(batches('m"', rows, max_rows=max_rows, max_bytes=max_bytes))
    documents = [json.loads(body) for body, _ in cut]
    assert [row for document in documents for row in document["instances"]] == rows
    assert all(document["model"] == 'm"' for document in documents)
    for (body, count), document in zip(cut, documents, strict=True):
        assert count == len(document["instances"]) <= max_rows
        assert len(body) <= max_bytes or count == 1
    # Each is as large as may be: the next row would not have fitted.
    for (body, count), follower in zip(cut, documents[1:], strict=False):
        line = json.dumps(follower["instances"][0], ensure_ascii=False, separators=(",", ":")).encode()
        assert count == max_rows or len(body) + 1 + len(line) >= max_bytes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_not_sent(server: Server, value: float) -> None:
    server.then(predictions(1.0))
    with client_of(server) as client, pytest.raises(ValueError, match="not JSON compliant"):
        client.predict("m", [{"a": value}])
    assert server.asked == []


@given(
    status=st.integers(100, 599).filter(lambda number: number != 200),
    headers=st.dictionaries(
        st.sampled_from(["date", "retry-after", "x-amzn-requestid"]),
        st.text(max_size=40)
        | st.datetimes(datetime(1970, 1, 2)).map(
            lambda t: format_datetime(t.replace(tzinfo=UTC), usegmt=True)
        ),
    ),
    body=st.binary(max_size=40)
    | st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: st.dictionaries(st.sampled_from(["error", "code", "message", "Message"]), inner),
        max_leaves=5,
    ).map(lambda document: json.dumps(document).encode()),
)
@example(status=100, headers={}, body=b'{"error": {"code": ""}}')
@example(status=503, headers={}, body=b'{"error": {"code": "no\\ncode"}}')
def test_any_answer_becomes_one_typed_error(status: int, headers: dict[str, str], body: bytes) -> None:
    error = of_answer(status, headers, body, datetime.now(UTC))
    assert error.code
    assert error.status == status
    assert "\n" not in error.code
    assert error.retry_after is None or error.retry_after >= 0


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=7), usegmt=True)
    assert of_answer(503, {"retry-after": date}, b"", now).retry_after == 7
