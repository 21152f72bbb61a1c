"""A server under more load than it takes, and clients that never end: over sockets, through uvicorn."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from training.common.tabular_model import TabularModel
from training.serving.http import send_response
from training.serving.protocol import MAX_HEAD_BYTES, limited
from training.serving.server import make_app
from training.serving.settings import Settings

RECEIVE_S = 0.2
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def app(hosting):
    return make_app(Settings(max_body_bytes=100_000, max_requests=3))


@asynccontextmanager
async def listening(app):
    """The app behind its protocol on a port of its own, as uvicorn's server makes it."""
    config = uvicorn.Config(app, lifespan="off", ws="none", log_level="critical", timeout_keep_alive=5)
    config.load()
    protocol = limited(RECEIVE_S)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def say(port, *pieces, pause=0.0, end=False):
    """Sends the pieces, and reads until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()

    async def read():
        with suppress(ConnectionError):  # what arrived before it counts
            while chunk := await reader.read(4096):
                received.extend(chunk)

    reading = asyncio.create_task(read())
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if end:
                writer.write_eof()
        await reading
        return bytes(received)
    finally:
        writer.close()


def talk(app, *pieces, **how):
    async def scenario():
        async with listening(app) as port, asyncio.timeout(60):
            return await say(port, *pieces, **how)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"POST /invoc", b"HTTP/1.1 408 "),
        (POST, b"HTTP/1.1 408 "),
        (POST + b"Content-Length: 10\r\n\r\n12345", b"HTTP/1.1 408 "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", b"HTTP/1.1 408 "),
        (PING + b"GET /pi", b"HTTP/1.1 200 "),
        (POST + b"Content-Length: 200000\r\n\r\n1", b"HTTP/1.1 413 "),
    ],
)
def test_a_request_that_never_ends_is_cut(app, sent, answer):
    received = talk(app, sent)
    assert received.startswith(answer)
    assert bool(received) == bool(answer)


def test_a_request_that_trickles_is_cut(app):
    body = POST + b"Content-Length: 1000\r\n\r\n"
    assert talk(app, body, *[b"x"] * 20, pause=RECEIVE_S / 4).startswith(b"HTTP/1.1 408 ")


def test_a_head_without_end_is_cut(app):
    line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    answer = talk(app, POST, *[line] * (MAX_HEAD_BYTES // 8000), line, pause=0.001)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("name", [b"websocket", b"h2c"])
def test_who_asks_for_another_protocol_is_answered_and_the_connection_closed(app, name):
    """What was sent behind it would never be read."""
    upgrade = PING.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: " + name + b"\r\n\r\n")
    answer = talk(app, upgrade + PING)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_request_in_pieces_in_time_is_answered(app, monkeypatch):
    monkeypatch.setitem(globals(), "RECEIVE_S", 30)
    body = b'{"instances": []}'
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = talk(app, head[:30], head[30:], body[:5], body[5:], pause=0.02)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"predictions":[]}')


def test_a_slow_answer_is_no_slow_client(app, monkeypatch):
    """The next request, already sent, is not read meanwhile: that is the server's doing."""
    from training.serving.tabular import TabularHandler

    async def slow(*_arguments):
        await asyncio.sleep(RECEIVE_S * 3)
        return b"slow", "text/csv"

    monkeypatch.setattr(TabularHandler, "answer", slow)
    first = POST + b"Content-Length: 1\r\n\r\n1"
    closing = POST + b"Connection: close\r\nContent-Length: 1\r\n\r\n1"
    assert talk(app, first + closing[:40], closing[40:], pause=0.01).count(b"HTTP/1.1 200 ") == 2


def test_an_answer_that_nobody_reads_is_given_up():
    async def scenario():
        done = asyncio.Event()

        async def large(_scope, _receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):  # the second waits until the first is taken, or given up
                await send({"type": "http.response.body", "body": b"x" * 20_000_000, "more_body": True})
            done.set()

        async with listening(large) as port, asyncio.timeout(60):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(PING)
            await asyncio.sleep(RECEIVE_S / 2)
            assert not done.is_set()
            await done.wait()
            writer.close()

    asyncio.run(scenario())


def test_beyond_its_limit_the_server_is_busy_at_once(app, monkeypatch, model_folder):
    """Three are predicted or wait; the fourth is told to come back, and /ping still answers."""
    instances = json.loads((model_folder / "manifest.json").read_text())["golden"]["instances"][:1]
    body = json.dumps({"instances": instances}).encode() + b" " * 40_000  # large: predicted in a thread
    release, real = threading.Event(), TabularModel.predict

    def slow(self, rows):
        assert release.wait(60)
        return real(self, rows)

    monkeypatch.setattr(TabularModel, "predict", slow)
    request = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def scenario():
        async with listening(app) as port, asyncio.timeout(60):
            taken = [asyncio.create_task(say(port, request)) for _ in range(3)]
            while app._in_flight < 3:
                await asyncio.sleep(0.01)
            refused = await say(port, request)
            ping = await say(port, PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            release.set()
            answers = await asyncio.gather(*taken)
            return refused, ping, answers, await say(port, request)

    refused, ping, answers, later = asyncio.run(scenario())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in refused
    assert ping.startswith(b"HTTP/1.1 200 ")
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in [*answers, later])


def test_bodies_that_wait_have_a_bound_together(hosting, serve, monkeypatch):
    """Not the number of requests is what takes memory, but what they sent."""
    from training.serving.tabular import TabularHandler

    release = asyncio.Event()

    async def waits(*_arguments):
        await release.wait()
        return b"", "text/csv"

    monkeypatch.setattr(TabularHandler, "answer", waits)
    call = serve(max_held_bytes=100_000)

    async def scenario():
        first = asyncio.create_task(call.send("POST", "/invocations", b"x" * 60_000))
        await asyncio.sleep(0.01)
        refused = await call.send("POST", "/invocations", b"x" * 60_000)
        small = asyncio.create_task(call.send("POST", "/invocations", b"x" * 30_000))
        await asyncio.sleep(0.01)
        release.set()
        answers = [await first, await small, await call.send("POST", "/invocations", b"x" * 60_000)]
        return refused, *(answer.status for answer in answers)

    refused, *taken = call._runner.run(scenario())
    assert (refused.status, "bytes of requests" in refused.error) == (503, True)
    assert taken == [200, 200, 200]
    assert call._app._held == 0


TYPES = ["application/json", "application/jsonlines", "text/csv", "text/libsvm", "image/png", "*/*", ""]
CELLS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
DOCUMENTS = st.recursive(
    CELLS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda value: json.dumps(value).encode(), DOCUMENTS),
    st.builds(lambda value: json.dumps({"instances": value}).encode(), DOCUMENTS),
    st.text(alphabet='0123456789.:,-+eE"\n nNaAifI', max_size=200).map(str.encode),
)


@pytest.fixture(scope="module")
def fuzzed(trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzzed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(root))
        (root / "model").symlink_to(trained.root / "model")
        (root / "models").mkdir()
        with asyncio.Runner() as runner:
            yield [make_app(Settings()), make_app(Settings(multi_model=True))], runner


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    multi_model=st.booleans(),
    method=st.sampled_from(["POST", "GET", "DELETE", "PUT", "HEAD"]),
    path=st.one_of(
        st.sampled_from(["/invocations", "/ping", "/models", "/models/a", "/models/a/invoke"]),
        st.text(max_size=30).map(lambda text: f"/models/{text}"),
    ),
    query=st.sampled_from([b"", b"limit=1", b"next_page_token=" + b"9" * 5000]) | st.binary(max_size=20),
    kind=st.sampled_from(TYPES) | st.text(alphabet=st.characters(max_codepoint=255), max_size=20),
    accept=st.sampled_from(TYPES) | st.text(alphabet=st.characters(max_codepoint=255), max_size=20),
    body=BODIES,
)
@example(False, "POST", "/invocations", b"", "application/jsonlines", "", b'{"loan_id": "\\ud800"}')
def test_whatever_is_asked_is_answered_and_never_the_servers_fault(
    fuzzed, multi_model, method, path, query, kind, accept, body
):
    apps, runner = fuzzed
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", kind.encode("latin-1")), (b"accept", accept.encode("latin-1"))]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}
    runner.run(asyncio.wait_for(apps[multi_model](scope, receive, send), 60))
    assert sent[0]["status"] < 500
    if sent[0]["status"] >= 400:
        message = json.loads(sent[1]["body"])["error"]
        assert message
        assert "\n" not in message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(
            [POST, PING, b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"3\r\n"]
        )
        | st.binary(max_size=30),
        max_size=6,
    )
)
def test_whatever_bytes_arrive_the_connection_ends_without_a_fault(app, pieces):
    answer = talk(app, b"".join(pieces), end=True)
    assert b"HTTP/1.1 5" not in answer


def test_a_refusal_may_carry_headers():
    from training.serving.http import HttpError

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(send_response(send, HttpError(503, "busy", retry_after=2).response(), "id"))
    assert (b"retry-after", b"2") in sent[0]["headers"]
    asyncio.run(send_response(send, HttpError(400, "bad").response(), "id"))
    assert b"retry-after" not in dict(sent[2]["headers"])
