"""What the server says of its work: the log's lines, and the metrics on a port of their own."""

from __future__ import annotations

import asyncio
import json
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.serving.http import Request
from training.serving.telemetry import MAX_SHOWN, Metrics, request_id, serve_metrics


@pytest.fixture
def call(hosting, serve):
    return serve()


@pytest.fixture
def lines(capsys):
    """Reads the log's lines so far."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def asked(**headers):
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request("GET", "/", b"/", sent, {}, None)


def test_a_refused_request_is_one_line_with_its_name(call, lines):
    answer = call("POST", "/invocations", b"{", x_amzn_requestid="abc-1")
    (line,) = lines()
    assert (line["event"], line["id"], line["route"], line["status"]) == ("request", "abc-1", "invoke", 400)
    assert line["error"] == answer.error
    assert line["ms"] >= 0


def test_a_good_request_is_a_line_only_where_asked_for(hosting, serve, lines):
    body = {"instances": []}
    assert serve()("POST", "/invocations", body).status == 200
    assert lines() == []
    assert serve(access_log=True)("POST", "/invocations", body).status == 200
    (line,) = lines()
    assert (line["status"], line["path"]) == (200, "/invocations")


def test_a_defect_is_one_line_with_its_trace(call, lines, monkeypatch):
    from training.serving.tabular import TabularHandler

    monkeypatch.setattr(TabularHandler, "answer", None)
    assert call("POST", "/invocations", {"instances": []}).status == 500
    (line,) = lines()
    assert (line["status"], "TypeError" in line["trace"]) == (500, True)


def test_a_name_is_taken_from_the_headers_or_made():
    both = asked(x_amzn_sagemaker_custom_attributes="trace=7", x_amzn_requestid="r-1")
    assert request_id(both) == "trace=7"
    assert request_id(asked(x_amzn_requestid="r-1")) == "r-1"
    made = {request_id(asked()), request_id(asked(x_amzn_requestid="")), request_id(asked())}
    assert len(made) == 3


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=400))
def test_a_name_fits_a_line_and_a_header(sent):
    name = request_id(asked(x_amzn_requestid=sent))
    assert 0 < len(name) <= MAX_SHOWN
    assert re.fullmatch(r"[ -~]+", name)


def samples(text):
    """A text of Prometheus -> name with labels to value; every line must have its form."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("# TYPE "):
            name, value = re.fullmatch(r"([a-z_]+(?:\{[^{}]*\})?) ([0-9.e+-]+)", line).groups()
            assert name not in found
            found[name] = float(value)
    return found


def test_the_metrics_tell_what_happened(container, serve, model_folder):
    call = serve(multi_model=True)
    for name in ("a", "b"):
        shutil.copytree(model_folder, container.root / "models" / name / "model")
        call("POST", "/models", {"model_name": name, "url": f"/opt/ml/models/{name}/model"})
    (container.root / "models" / "b" / "model" / "manifest.json").unlink()
    call("DELETE", "/models/b")
    call("POST", "/models", {"model_name": "b", "url": "/opt/ml/models/b/model"})
    for _ in range(3):
        call("POST", "/models/a/invoke", {"instances": []})
    call("POST", "/models/none/invoke", {"instances": []})
    found = samples(call._app.metrics.text())
    assert found['serving_requests_total{route="invoke",status="200"}'] == 3
    assert found['serving_requests_total{route="invoke",status="404"}'] == 1
    assert found['serving_request_seconds_count{route="invoke"}'] == 4
    assert found['serving_request_seconds_bucket{route="invoke",le="+Inf"}'] == 4
    assert found['serving_errors_total{route="invoke"}'] == 0
    assert (found["serving_models_loaded"], found["serving_models_loading"]) == (1, 0)
    assert (found["serving_loads_total"], found["serving_load_failures_total"]) == (2, 1)
    assert found["serving_load_seconds_total"] > 0
    assert 0 < found["serving_model_bytes_used"] < found["serving_model_bytes_budget"]
    assert found["serving_requests_in_flight"] == 0


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_histogram_counts_each_request_in_all_buckets_above_it(seconds):
    metrics = Metrics(dict)
    for value in seconds:
        metrics.count("invoke", 200, value)
    found = samples(metrics.text())
    for name, count in found.items():
        if bound := re.search(r'le="([^"]+)"', name):
            assert count == sum(value <= float(bound[1]) for value in seconds)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (b"GET /models HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n"),
        (b"x" * 100_000, b""),
        (b"GET", b""),
    ],
)
def test_the_metrics_have_a_port_of_their_own(sent, answer):
    async def scenario():
        server = await serve_metrics(Metrics(lambda: {"models_loaded": 2}), 0)
        async with server, asyncio.timeout(10):
            address, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(sent)
            writer.write_eof()
            try:
                return address, await reader.read()
            except ConnectionError:  # closed with bytes unread
                return address, b""
            finally:
                writer.close()

    address, received = asyncio.run(scenario())
    assert address == "127.0.0.1"
    assert received.startswith(answer)
    assert bool(received) == bool(answer)
    assert (b"serving_models_loaded 2" in received) == (b"200 OK" in received)
