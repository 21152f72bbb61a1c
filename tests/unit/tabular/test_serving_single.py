"""A single-model server: routes, content types, and one clear line for each bad request."""

from __future__ import annotations

import csv
import io
import json

import pytest

from training.common.failure import UserError
from training.serving.http import ClientGone
from training.serving.settings import Settings

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"


@pytest.fixture
def golden(model_folder):
    return json.loads((model_folder / "manifest.json").read_text())["golden"]


@pytest.fixture
def call(hosting, serve):
    return serve(max_rows=20, max_body_bytes=200_000)


def test_ping_answers(call):
    answer = call("GET", "/ping")
    assert (answer.status, answer.body) == (200, b"")


def test_execution_parameters_answer(call, hosting, serve):
    big = serve(max_body_bytes=6 * 1024 * 1024)
    parameters = big("GET", "/execution-parameters").json
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxPayloadInMB"] == 6
    assert parameters["MaxConcurrentTransforms"] >= 1


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "Application/JSON", ""])
def test_json_in_json_out(call, golden, kind):
    answer = call("POST", "/invocations", {"instances": golden["instances"]}, content_type=kind)
    assert (answer.status, answer.content_type) == (200, JSON)
    assert answer.json["predictions"] == pytest.approx(golden["predictions"], abs=1e-4)


def test_json_lines_in_json_lines_out_with_ids(call, golden):
    rows = [{"loan_id": f"id-{index}", **row} for index, row in enumerate(golden["instances"])]
    del rows[1]["loan_id"]
    body = "\n".join(json.dumps(row) for row in rows).encode() + b"\n\n"
    answer = call("POST", "/invocations", body, content_type=LINES)
    assert answer.content_type == LINES
    documents = [json.loads(line) for line in answer.body.splitlines()]
    assert [item["prediction"] for item in documents] == pytest.approx(golden["predictions"], abs=1e-4)
    assert [item.get("loan_id") for item in documents[:3]] == ["id-0", None, "id-2"]


def test_csv_in_csv_out(call, golden):
    stream = io.StringIO()
    csv.writer(stream).writerows(row.values() for row in golden["instances"])
    answer = call("POST", "/invocations", stream.getvalue().encode(), content_type=CSV)
    assert answer.content_type == CSV
    assert [float(line) for line in answer.body.split()] == pytest.approx(golden["predictions"], abs=1e-4)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("*/*", JSON), ("", JSON), ("text/csv", CSV), ("text/html, application/jsonlines", LINES)],
)
def test_the_caller_may_choose_the_answer(call, golden, accept, expected):
    answer = call(
        "POST", "/invocations", {"instances": golden["instances"]}, content_type=JSON, accept=accept
    )
    assert (answer.status, answer.content_type) == (200, expected)


def test_no_rows_are_no_predictions(call):
    assert call("POST", "/invocations", {"instances": []}).json == {"predictions": []}
    assert call("POST", "/invocations", b"", content_type=LINES).body == b""
    assert call("POST", "/invocations", b"", content_type=CSV).body == b""


def test_missing_values_and_unseen_categories_predict(call, golden):
    row = {**golden["instances"][0], "term": None, "state": "Atlantis"}
    assert call("POST", "/invocations", {"instances": [row]}).status == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shoe_size": 44}, "row 2: unknown column 'shoe_size'"),
        ({"interest_rate": 9.9}, "row 2: unknown column 'interest_rate'"),
        ({"term": "36"}, "row 2: column 'term' needs a number or null, got text"),
        ({"term": True}, "row 2: column 'term' needs a number or null, got a boolean"),
        ({"term": [36]}, "row 2: column 'term' needs a number"),
        ({"state": 7}, "row 2: column 'state' needs text or null, got a number"),
        ({"term": 10**400}, "row 2: column 'term' is too large for a number"),
    ],
)
def test_a_bad_row_is_named(call, golden, change, expected):
    good = golden["instances"][0]
    answer = call("POST", "/invocations", {"instances": [good, {**good, **change}]})
    assert answer.status == 400
    assert answer.error.startswith(expected)


def test_a_missing_column_is_named(call, golden):
    row = {name: value for name, value in golden["instances"][0].items() if name != "term"}
    answer = call("POST", "/invocations", {"instances": [{**row, "terms": 36}]})
    assert answer.error == "row 1: column 'term' is missing (null means unknown); unknown column 'terms'"


@pytest.mark.parametrize(
    ("body", "kind", "status", "expected"),
    [
        (b"{", JSON, 400, "the body is not JSON: "),
        (b"", JSON, 400, "the body is not JSON: "),
        (b'{"a": "\xff"}', JSON, 400, "not UTF-8 text"),
        (b"[]", JSON, 400, 'needs the form {"instances"'),
        (b'{"instances": {}}', JSON, 400, 'needs the form {"instances"'),
        (b'{"instances": [1]}', JSON, 400, "row 1: needs an object of column names and values, got int"),
        (b'{"instances": [{"term": NaN}]}', JSON, 400, "NaN is not a value; use null"),
        (b'{"instances": [{"term": -Infinity}]}', JSON, 400, "-Infinity is not a value"),
        (b"[" * 100_000, JSON, 400, "not JSON that can be read"),
        (b'{"instances": [{"term": ' + b"9" * 5000 + b"}]}", JSON, 400, "not JSON that can be read"),
        (b'{"term": 1}\n{"term":', LINES, 400, "row 2 is not JSON"),
        (b"3\n", LINES, 400, "row 1: needs an object"),
        (b"1,2,3\n", CSV, 400, "row 1: has 3 cells, needs 41"),
        (b'"1,2', CSV, 400, "row 1: not CSV"),
        (b"\xff", CSV, 400, "not UTF-8 text"),
        (b"<x/>", "application/xml", 415, "content type 'application/xml' is not one of"),
        (json.dumps({"instances": [{}] * 21}).encode(), JSON, 413, "more than 20 rows in one request"),
        (b"{}\n" * 21, LINES, 413, "more than 20 rows in one request"),
        (b" " * 200_001, JSON, 413, "the body is larger than 200000 bytes"),
    ],
)
def test_a_bad_body_is_one_line(call, body, kind, status, expected):
    answer = call("POST", "/invocations", body, content_type=kind)
    assert answer.status == status
    assert expected in answer.error
    assert "\n" not in answer.error


def test_too_many_csv_rows_are_refused(call, golden):
    line = ",".join("" if value is None else str(value) for value in golden["instances"][0].values())
    answer = call("POST", "/invocations", f"{line}\n".encode() * 21, content_type=CSV)
    assert (answer.status, answer.error) == (413, "more than 20 rows in one request")


def test_a_declared_length_over_the_limit_is_refused_unread(call):
    answer = call("POST", "/invocations", b"{}", content_length="200001")
    assert (answer.status, answer.error) == (413, "the body is larger than 200000 bytes")


def test_an_answer_type_that_cannot_be_made_is_refused(call):
    answer = call("POST", "/invocations", {"instances": []}, accept="image/png")
    assert (answer.status, answer.error[:27]) == (406, "cannot answer with image/pn")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invocations", 405),
        ("POST", "/ping", 405),
        ("POST", "/execution-parameters", 405),
        ("GET", "/", 404),
        ("GET", "/models", 404),
        ("POST", "/models/x/invoke", 404),
    ],
)
def test_other_routes_are_refused(call, method, path, status):
    assert call(method, path).status == status


def test_a_defect_is_not_shown_to_the_caller(call, monkeypatch, capsys, golden):
    from training.serving.tabular import TabularHandler

    def broken(*_arguments):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(TabularHandler, "answer", broken)
    answer = call("POST", "/invocations", {"instances": golden["instances"]})
    assert (answer.status, answer.error) == (500, "internal error, see the endpoint's log")
    assert "secret detail" in capsys.readouterr().err


def test_a_caller_that_hangs_up_gets_no_answer(call):
    import asyncio

    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "headers": []}
    asyncio.run(call._app(scope, receive, send))
    assert not sent
    assert issubclass(ClientGone, Exception)


@pytest.mark.parametrize("spoil", ["gone", "version"])
def test_a_broken_model_stops_the_server_with_its_reason(hosting, serve, spoil):
    manifest = hosting.root / "model" / "manifest.json"
    if spoil == "gone":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace('"3.2.0"', '"2.1.4"'))
    with pytest.raises(
        UserError, match=r"cannot be served: (manifest.json is missing|was trained with xgboost)"
    ):
        serve()


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5"])
def test_a_setting_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("SERVING_MAX_ROWS", text)
    with pytest.raises(UserError, match="environment variable SERVING_MAX_ROWS"):
        Settings.from_environment()


def test_settings_come_from_sagemakers_variables(monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9999")
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    monkeypatch.setenv("UVICORN_HOST", "127.0.0.1")
    settings = Settings.from_environment()
    assert (settings.host, settings.port, settings.multi_model) == ("127.0.0.1", 9999, True)
    monkeypatch.delenv("UVICORN_HOST")
    assert Settings.from_environment().host == "0.0.0.0"
