"""Rows of libsvm: numbers by their place, the rest missing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from training.serving import tabular

KINDS = ["text/libsvm", "text/x-libsvm", "Text/LibSVM; charset=utf-8"]


@pytest.fixture
def call(hosting, serve):
    return serve(max_rows=20)


@pytest.fixture
def manifest(model_folder):
    return json.loads((model_folder / "manifest.json").read_text())


@pytest.fixture
def numbers(manifest):
    """The golden rows with the categories taken away, each with its line of libsvm."""
    features = manifest["features"]
    rows = []
    for instance in manifest["golden"]["instances"]:
        row = {f["name"]: instance[f["name"]] if f["kind"] == "numeric" else None for f in features}
        items = [f"{i}:{row[f['name']]!r}" for i, f in enumerate(features) if row[f["name"]] is not None]
        rows.append((row, " ".join(items)))
    return rows[:20]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", ["", "3.5 "])
def test_libsvm_predicts_as_the_same_rows_in_json(call, numbers, kind, label):
    expected = call("POST", "/invocations", {"instances": [row for row, _ in numbers]}).json["predictions"]
    body = "\n".join(label + line for _, line in numbers).encode() + b"\n\n"
    answer = call("POST", "/invocations", body, content_type=kind)
    assert (answer.status, answer.content_type) == (200, "text/csv")
    assert [float(line) for line in answer.body.split()] == expected


def test_the_answer_may_be_json(call):
    answer = call("POST", "/invocations", b"1\n", content_type="text/libsvm", accept="application/json")
    assert (answer.status, len(answer.json["predictions"])) == (200, 1)


def test_the_answer_is_libsvm_where_asked_for(call):
    plain = call("POST", "/invocations", b"1\n", content_type="text/libsvm", accept="*/*")
    answer = call("POST", "/invocations", b"1\n", content_type="text/libsvm", accept="text/libsvm")
    assert (answer.status, answer.content_type) == (200, "text/libsvm")
    assert float(answer.body) == float(plain.body)


def test_a_classifier_answers_with_places_and_probabilities():
    class Model:
        manifest = SimpleNamespace(classes=("a", "b"))
        predict = None

    answer = tabular.TabularHandler(Model(), 1).write_libsvm(
        None, [{"label": "b", "probabilities": {"a": 0.25, "b": 0.75}}]
    )
    assert answer == b"1 0:0.25 1:0.75\n"


def test_a_category_cannot_be_sent(call, manifest):
    place, name = next(
        (i, f["name"]) for i, f in enumerate(manifest["features"]) if f["kind"] == "categorical"
    )
    answer = call("POST", "/invocations", f"{place}:1".encode(), content_type="text/libsvm")
    assert (answer.status, f"row 1: column '{name}' is a category" in answer.error) == (400, True)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"1 41:2", 400, "row 1: index 41 is not below 41"),
        (b"1 " + b"9" * 5000 + b":2", 400, "row 1: index 99999999999999999999 is not below 41"),
        (b"1\n1 -1:2", 400, "row 2: needs index:value, got '-1:2'"),
        (b"1 qid:2", 400, "row 1: needs index:value, got 'qid:2'"),
        (b"1 x", 400, "row 1: needs index:value, got 'x'"),
        (b"1 1:", 400, "row 1: needs index:value, got '1:'"),
        (b"\xff", 400, "not UTF-8 text"),
        (b"1\n" * 21, 413, "more than 20 rows in one request"),
    ],
)
def test_a_bad_row_is_named(call, body, status, expected):
    answer = call("POST", "/invocations", body, content_type="text/libsvm")
    assert answer.status == status
    assert answer.error.startswith(expected) or expected in answer.error


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e999", "not a finite number"), ("nan", "not a finite number"), ("x", "not a number")],
)
def test_a_value_that_is_no_number_is_named(call, manifest, text, expected):
    place, name = next((i, f["name"]) for i, f in enumerate(manifest["features"]) if f["kind"] == "numeric")
    answer = call("POST", "/invocations", f"{place}:{text}".encode(), content_type="text/libsvm")
    assert (answer.status, f"row 1: column '{name}'" in answer.error, expected in answer.error) == (
        400,
        True,
        True,
    )
    twice = call("POST", "/invocations", f"{place}:1 {place}:1".encode(), content_type="text/libsvm")
    assert (twice.status, twice.error) == (400, f"row 1: index {place} appears twice")


def test_short_rows_cannot_fill_the_memory(hosting, serve, monkeypatch):
    monkeypatch.setattr(tabular, "MAX_LIBSVM_VALUES", 41 * 2000)
    call = serve()
    assert call("POST", "/invocations", b"1\n" * 2000, content_type="text/libsvm").status == 200
    assert call("POST", "/invocations", b"1\n" * 2001, content_type="text/libsvm").status == 413
