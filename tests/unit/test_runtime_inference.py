"""The inference function: what it answers to whom, and what it does when something behind it fails."""

import dataclasses
import importlib
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import example, given
from hypothesis import strategies as st
from inference_runtime.settings import Settings

from modelyard.runtime.limits import CANARY_RETRY_SECONDS, CANARY_SECONDS
from tests.unit.inference_world import CALL, ROW, SETTINGS, FakeTable, World, refused


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("encode", [True, False])
def test_predicts(world, encode):
    status, content, _ = world.send({"model": "loans", "instances": [ROW, ROW]}, encode=encode)
    assert status == 200
    assert content == {"model": "loans", "version": 3, "predictions": [1.5, 1.5], "request_id": "request-1"}
    call = world.endpoint.calls[0]
    assert call["TargetModel"] == "loans/3-abc.tar.gz"
    assert json.loads(call["Body"]) == {"instances": [ROW, ROW]}
    assert call["InferenceId"] == call["CustomAttributes"] == "request-1"


def test_health_asks_nobody(world):
    assert world.send("", method="GET", path="/health")[:2] == (
        200,
        {"status": "ok", "request_id": "request-1"},
    )
    assert world.table.reads == 0


def test_lists_models(world):
    _, content, _ = world.send("", method="GET", path="/models")
    assert content["models"] == [
        {"model": "loans", "version": 3, "since": "then", "canary": None},
        {"model": "homes", "version": None, "since": None, "canary": None},
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is empty"),
        ("{", "not JSON: .*line 1 column 2"),
        ('{"model": "loans", "instances": [{"x": NaN}]}', "NaN is no JSON number"),
        ('{"model": "loans", "instances": [{"x": -Infinity}]}', "-Infinity is no JSON number"),
        ("[" * 1900, "nested too deeply|not JSON"),
        ('{"a":' * 300 + "1" + "}" * 300, "unknown member 'a'"),
        ("[]", "the body is an array"),
        ("3", "the body is a number"),
        ("null", "the body is null"),
        ({"instances": [ROW]}, "model is missing"),
        ({"model": 3, "instances": [ROW]}, "model is a number"),
        ({"model": "loans"}, "instances is missing"),
        ({"model": "loans", "instances": ROW}, "instances is an object"),
        ({"model": "loans", "instances": [ROW], "Version": 3}, "unknown member 'Version'"),
        (b'{"model": "l\xff"}', "not UTF-8 .byte 12"),
        ("\ufeff{}", "BOM"),
        ('{"model": "loans", "instances": [{"x": ' + "1" * 1900 + "}]}", None),
    ],
)
def test_malformed_bodies(world, body, message):
    status, code, text = refused(world, body)
    if message is None:
        assert (status, code) == (422, "invalid_instances")
        return
    assert (status, code) == (400, "malformed_body")
    assert re.search(message, text)


def test_body_that_is_not_the_base64_it_claims(world):
    event = {
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json"},
        "body": "{not base64}",
        "isBase64Encoded": True,
    }
    assert json.loads(world.api.answer(event, "r")["body"])["error"]["code"] == "malformed_body"


@pytest.mark.parametrize(
    ("instances", "code", "message"),
    [
        ([], "invalid_instances", "instances is empty"),
        ([ROW] * 6, "too_many_rows", "holds 6 rows; send at most 5"),
        ([ROW, 3], "invalid_instances", r"instances[1] is a number"),
        ([ROW, {}], "invalid_instances", r"instances[1] is an empty object"),
        ([[1, 2]], "invalid_instances", r"instances[0] is an array"),
        ([{"fico": [1]}], "invalid_instances", r"instances[0].fico is an array"),
        ([{"fico": {"$gt": 0}}], "invalid_instances", r"instances[0].fico is an object"),
        ([{"fico": 2**63}], "invalid_instances", r"instances[0].fico is outside the range"),
    ],
)
def test_rows_of_wrong_shape(world, instances, code, message):
    status, actual, text = refused(world, {"model": "loans", "instances": instances})
    assert (status, actual) == (422, code)
    assert message in text


def test_numbers_beyond_floats_are_refused(world):
    body = '{"model": "loans", "instances": [{"x": 1e999}]}'
    assert refused(world, body)[:2] == (422, "invalid_instances")


@pytest.mark.parametrize("encode", [True, False])
@pytest.mark.parametrize("filler", ["x" * 2000, "ä" * 1000, "x" * 5000])
def test_large_bodies(world, filler, encode):
    assert refused(world, json.dumps({"model": filler}, ensure_ascii=False), encode=encode)[:2] == (
        413,
        "body_too_large",
    )


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-npy", "application/json; charset=utf-16", "image/png"],
)
def test_other_content_types(world, content_type):
    assert refused(world, content_type=content_type)[:2] == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["Application/JSON", 'application/json; charset="UTF-8"; x=y'])
def test_same_content_type_in_other_words(world, content_type):
    assert world.send(content_type=content_type)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 405, "method_not_allowed"),
        ("POST", "/models", 405, "method_not_allowed"),
        ("GET", "/../models", 404, "unknown_path"),
        ("GET", "/favicon.ico", 404, "unknown_path"),
    ],
)
def test_other_routes(world, method, path, status, code):
    assert refused(world, method=method, path=path)[:2] == (status, code)


@pytest.mark.parametrize(
    "model", ["theirs", "", "../loans", "loans/3-abc.tar.gz", "LOANS", "x" * 300, "lo\nans"]
)
def test_unknown_models_cost_no_read(world, model):
    status, code, message = refused(world, {**CALL, "model": model})
    assert (status, code) == (404, "unknown_model")
    assert "GET /models" in message
    assert "homes" not in message
    assert world.table.reads == 0


def test_model_without_approved_version(world):
    assert refused(world, {**CALL, "model": "homes"})[:2] == (404, "model_not_deployed")
    assert world.endpoint.calls == []


def test_logs_name_things_and_never_values(world, capsys):
    secret = {"fico": 987654, "state": "secret-state"}
    world.send({"model": "loans", "instances": [secret]})
    world.send({"model": "loans", "instances": [{**secret, "x": []}]})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["predicted", "refused"]
    assert lines[0]["rows"] == 1
    assert "987654" not in str(lines)
    assert "secret" not in str(lines)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
KNOWN = {
    (200, None),
    (400, "malformed_body"),
    (404, "unknown_model"),
    (404, "unknown_path"),
    (404, "model_not_deployed"),
    (405, "method_not_allowed"),
    (413, "body_too_large"),
    (415, "unsupported_media_type"),
    (422, "invalid_instances"),
    (422, "too_many_rows"),
}


@given(
    body=st.binary(max_size=200)
    | st.text(max_size=200)
    | documents
    | st.fixed_dictionaries(
        {"model": st.sampled_from(["loans", "homes"]) | documents, "instances": documents}
    )
    | st.fixed_dictionaries(
        {
            "model": st.just("loans"),
            "instances": st.lists(st.dictionaries(st.text(max_size=5), scalars), max_size=7),
        }
    ),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.sampled_from(["/", "", "/models", "/health"]) | st.text(max_size=10),
    content_type=st.sampled_from(["application/json", "text/csv", None]) | st.text(max_size=20),
    encode=st.booleans(),
)
@example(
    body='{"model": "\\ud800", "instances": []}',
    method="POST",
    path="/",
    content_type="application/json",
    encode=False,
)
@example(body='{"\\ud800": 1}', method="POST", path="/", content_type="application/json", encode=True)
def test_every_request_gets_a_typed_answer(body, method, path, content_type, encode):
    if isinstance(body, str):
        body = body.encode(errors="surrogatepass")
    status, content, _ = World().send(
        body, method=method, path=path, content_type=content_type, encode=encode
    )
    assert (status, content.get("error", {}).get("code")) in KNOWN


features = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)


@given(st.lists(st.dictionaries(st.text(max_size=5), features, min_size=1), min_size=1, max_size=5))
def test_rows_reach_the_model_unchanged(rows):
    world = World(Settings(endpoint_name="models", table_name="records", models=("loans",)))
    assert world.send({"model": "loans", "instances": rows})[0] == 200
    assert json.loads(world.endpoint.calls[0]["Body"])["instances"] == rows


@pytest.fixture
def handler(monkeypatch):
    for name, value in {**SETTINGS.to_environment(), "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    return importlib.reload(importlib.import_module("inference_runtime.handler"))


def test_handler_against_botocores_models(handler):
    table, runtime = Stubber(handler.API._models._client), Stubber(handler.API._predictor._invoker._client)
    answer = b'{"predictions": [12.5]}'
    item = FakeTable().get_item("records", {"group": {"S": "loans"}}, True)
    table.add_response(
        "get_item", item, {"TableName": "records", "Key": {"group": {"S": "loans"}}, "ConsistentRead": True}
    )
    runtime.add_response("invoke_endpoint", {"Body": StreamingBody(io.BytesIO(answer), len(answer))})
    event = {
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}},
        "body": json.dumps(CALL),
    }
    with table, runtime:
        response = handler.handle(event, SimpleNamespace(aws_request_id="id-1"))
    assert response["statusCode"] == 200
    assert json.loads(response["body"])["predictions"] == [12.5]


@pytest.mark.parametrize(("model", "status"), [("loans", 503), ("homes", 404)])
def test_an_answer_of_5xx_counts_against_the_functions_version(handler, capsys, model, status):
    """Releases of the function are judged by it; a model that nobody deployed is no fault."""
    context = SimpleNamespace(aws_request_id="id-1", function_name="inference", function_version="7")
    event = {
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}},
        "body": json.dumps({**CALL, "model": model}),
    }
    table, runtime = Stubber(handler.API._models._client), Stubber(handler.API._predictor._invoker._client)
    table.add_response("get_item", FakeTable().get_item("records", {"group": {"S": model}}, True))
    runtime.add_client_error("invoke_endpoint", "ValidationError", http_status_code=400)
    with table, runtime:
        answered = handler.handle(event, context)["statusCode"]
    assert answered == status
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    faults = [line for line in lines if line["event"] == "fault"]
    assert len(faults) == (status == 503)
    for line in faults:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Dimensions"] == [["Function", "FunctionVersion"]]
        assert (line["Function"], line["FunctionVersion"], line["Faults"]) == ("inference", "7", 1)


def test_timeouts_leave_room_for_the_functions_own_answer(handler):
    predictor = handler.API._predictor
    config, canary = (
        invoker._client.meta.config for invoker in (predictor._invoker, predictor._canary_invoker)
    )
    assert config.read_timeout == 70
    assert config.retries["total_max_attempts"] == canary.retries["total_max_attempts"] == 1
    assert SETTINGS.timeout_seconds >= SETTINGS.retry_seconds + config.read_timeout
    canary_seconds = CANARY_RETRY_SECONDS + canary.connect_timeout + canary.read_timeout
    assert canary_seconds <= CANARY_SECONDS
    for retry_seconds in (0, 30, 800):
        timeout = dataclasses.replace(SETTINGS, retry_seconds=retry_seconds).timeout_seconds
        assert canary_seconds + config.read_timeout < timeout <= 900


def test_error_shapes_are_botocores():
    # The fakes raise what botocore would: each code above is one that the service model knows.
    model = botocore.session.get_session().get_service_model("sagemaker-runtime")
    errors = {shape.name for shape in model.operation_model("InvokeEndpoint").error_shapes}
    assert {
        "ModelNotReadyException",
        "ServiceUnavailable",
        "InternalFailure",
        "ModelError",
        "ValidationError",
    } <= errors


def test_the_readme_lists_the_codes():
    package = Path(importlib.import_module("inference_runtime").__file__).parent
    raised = set()
    for file in package.glob("*.py"):
        raised |= set(re.findall(r'ApiError\(\s*\d{3}, "(\w+)"', file.read_text()))
    rows = re.findall(r"^\| \d{3} \| (.*?) \|", (package.parent / "README.md").read_text(), re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == raised
