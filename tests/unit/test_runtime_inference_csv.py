"""CSV bodies: what becomes which value, and what is refused where."""

import csv
import dataclasses
import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inference_runtime import csv_rows
from inference_runtime.errors import ApiError

from tests.unit.inference_world import SETTINGS, World


def send(world, body, query="model=loans", **named):
    return world.send(body, content_type="text/csv; charset=utf-8", query=query, **named)


def refused(body, query="model=loans"):
    world = World()
    status, content, _ = send(world, body, query)
    assert world.endpoint.calls == []
    return status, content["error"]["code"], content["error"]["message"]


@pytest.mark.parametrize("encode", [True, False])
def test_rows_become_what_json_would_have_said(encode):
    world = World()
    body = 'fico,state,zip,income,"a ""name"""\r\n700,CA,02139,,1e-3\r\n-12.5,"N\nY","10001","",true'
    status, content, _ = send(world, body, encode=encode)
    assert (status, content["predictions"]) == (200, [1.5, 1.5])
    assert json.loads(world.endpoint.calls[0]["Body"])["instances"] == [
        {"fico": 700, "state": "CA", "zip": "02139", "income": None, 'a "name"': 0.001},
        {"fico": -12.5, "state": "N\nY", "zip": "10001", "income": None, 'a "name"': "true"},
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0.5", -0.5),
        ("1E+2", 100.0),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        *((text, text) for text in ("NaN", "inf", "+1", ".5", "5.", "007", "1_000", " 1", "0x1", "١", "1,")),
    ],
)
def test_numbers_are_written_as_in_json(text, value):
    cell = f'"{text}"' if "," in text else text
    (row,) = csv_rows.rows(f"x\n{cell}\n".encode(), 5)
    assert row == {"x": value}
    assert type(row["x"]) is type(value)


@pytest.mark.parametrize(
    "text", ["1e999", str(2**63), str(-(2**63) - 1), "9" * 21, "-" + "1" * 22, "1" * 1500]
)
def test_numbers_beyond_64_bits(text):
    status, code, message = refused(f"a,x\n1,2\n1,{text}\n")
    assert (status, code) == (422, "invalid_instances")
    assert message.startswith("line 3, column 2 ('x') is outside the range")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is empty"),
        ("a,b\n1,2\n3\n", "line 3 has 1 values; the header names 2"),
        ('a,b\n"x\ny",2\n3,4,5\n', "line 4 has 3 values"),
        ("a,b\n1,2\n\n", "line 3 has 1 values"),
        ('a,b\n1,2"3\n', "line 2, column 2: quotes"),
        ('a,b\n1,"2" \n', "line 2, column 2: quotes"),
        ('a,b\n"1,2\n', "line 2, column 1: quotes"),
        ("a,b\r1,2\r", "line 1, column 2: .*LF"),
        ("a,,b\n1,2,3\n", "line 1, column 2 has no name"),
        ("\n1\n", "line 1, column 1 has no name"),
        ("a,b,a\n1,2,3\n", "line 1, column 3: 'a' is named twice"),
        (b"a\n\xff\n", "not UTF-8 .byte 2"),
    ],
)
def test_malformed(body, message):
    status, code, text = refused(body)
    assert (status, code) == (400, "malformed_body")
    assert re.search(message, text)


@pytest.mark.parametrize("body", ["a,b", "a,b\n", "\ufeffa,b\r\n"])
def test_a_header_alone(body):
    assert refused(body)[:2] == (422, "invalid_instances")


def test_an_empty_line_is_a_row_where_there_is_one_feature():
    assert csv_rows.rows(b"x\n1\n\n2\n\n", 9) == [{"x": 1}, {"x": None}, {"x": 2}, {"x": None}]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "model is missing in the query"),
        ("model", 404, "no model ''"),
        ("model=loans&model=loans", 400, "model is given twice"),
        ("model=loans&version=3", 400, "unknown parameter 'version'"),
        ("model=%ff", 400, "not of the form"),
        ("&".join(["model=loans"] * 20), 400, "not of the form"),
        ("model=../loans", 404, "no model"),
        ("model=homes", 404, "no approved version"),
    ],
)
def test_the_query_names_the_model(query, status, message):
    actual, _, text = refused("x\n1\n", query)
    assert actual == status
    assert message in text


def test_too_many_rows():
    status, code, message = refused("x\n" + "1\n" * 6)
    assert (status, code) == (422, "too_many_rows")
    assert "send at most 5" in message


def test_a_short_body_does_not_become_a_long_one():
    name = "n" * 100_000
    with pytest.raises(ApiError) as caught:
        csv_rows.rows((name + "\n" + "1\n" * 1000).encode(), 1000)
    assert caught.value.status == 413


def test_a_body_is_not_sent_if_sagemaker_would_not_take_it():
    settings = dataclasses.replace(SETTINGS, max_body_bytes=4_000_000)
    world = World(settings)
    body = "x\n" + "\x01" * 1_100_000 + "\n"
    status, content, _ = send(world, body)
    assert (status, content["error"]["code"]) == (413, "body_too_large")
    assert world.endpoint.calls == []


def test_messages_hold_no_values():
    secret = "9" * 30
    assert secret[:5] not in refused(f"x,y\n1,{secret}\n")[2]
    assert secret[:5] not in refused(f'x,y\n1,{secret}"\n')[2]


names = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4, unique=True)
texts = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.data(), names, st.sampled_from(["\n", "\r\n"]))
def test_what_csv_writes_is_read(data, header, end):
    table = data.draw(st.lists(st.lists(texts, min_size=len(header), max_size=len(header)), min_size=1))
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerows([header, *table])
    # The mark that some programs begin a file with is none of the first name.
    found = csv_rows.rows(("\ufeff" + file.getvalue()).encode(), 1000)
    assert found == [
        {name: cell or None for name, cell in zip(header, cells, strict=True)} for cells in table
    ]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_arrive_as_they_were(number):
    assert csv_rows.rows(f"x\n{json.dumps(number)}\n".encode(), 1) == [{"x": number}]


@given(st.text(alphabet='a1",\n\r.e-', max_size=40) | st.binary(max_size=40))
@example('a\n"' + '""' * 5000)
def test_any_body_is_rows_or_a_typed_refusal(body):
    data = body.encode() if isinstance(body, str) else body
    try:
        rows = csv_rows.rows(data, 5)
    except ApiError as error:
        refusal = (error.status, error.code)
        assert refusal in {(400, "malformed_body"), (422, "invalid_instances"), (422, "too_many_rows")}
    else:
        assert 1 <= len(rows) <= 5
        assert len({tuple(row) for row in rows}) == 1
