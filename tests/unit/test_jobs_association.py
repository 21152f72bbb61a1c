"""Filters and joins of batch transform."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.jobs.association import Association, AssociationError, Path


def association(kind: str = "text/csv", **processing: str) -> Association:
    found = Association.of(
        {
            "DataProcessing": processing,
            "TransformInput": {"ContentType": kind, "SplitType": "Line"},
            "TransformOutput": {"Accept": kind, "AssembleWith": "Line"},
        }
    )
    assert found is not None
    return found


def test_csv() -> None:
    found = association(InputFilter="$[1:]", JoinSource="Input", OutputFilter="$[0,-1]")
    assert found.request(b'"a,b",0.5,0.7') == b"0.5,0.7"
    assert found.result(b'"a,b",0.5,0.7', b"1,2") == b'"a,b",2'
    assert association(OutputFilter="$[0]").result(b"x", b"0.1,0.9") == b"0.1"


def test_json() -> None:
    kind = "application/jsonlines"
    found = association(
        kind, InputFilter="$.features", JoinSource="Input", OutputFilter="$['id','SageMakerOutput']"
    )
    record = b'{"id": 7, "features": [1, 2]}'
    assert found.request(record) == b"[1, 2]"
    assert found.result(record, b"0.5") == b'{"id": 7, "SageMakerOutput": 0.5}'
    joined = association(kind, JoinSource="Input").result(b"[1, 2]", b"0.5")
    assert joined == b'{"SageMakerInput": [1, 2], "SageMakerOutput": 0.5}'


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6), st.integers(-6, 6), st.integers(-6, 6))
def test_slices_are_pythons(row: list[int], start: int, stop: int) -> None:
    assert Path.parse(f"$[{start}:{stop}]").of(row) == row[start:stop]


@pytest.mark.parametrize("path", ["[0]", "$..a", "$[?(@.a)]", "$[*]", "$."])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(AssociationError, match=r"not a JSONPath|not supported"):
        Path.parse(path)


@pytest.mark.parametrize(
    ("path", "value"), [("$[3]", [1]), ("$.a", {"b": 1}), ("$.a", [1]), ("$[0:1]", {"a": 1})]
)
def test_what_selects_nothing(path: str, value: Any) -> None:
    with pytest.raises(AssociationError, match="selects nothing"):
        Path.parse(path).of(value)


@pytest.mark.parametrize(
    ("content_type", "accept", "split", "assemble", "message"),
    [
        ("text/plain", "text/csv", "Line", "Line", "needs ContentType"),
        ("text/csv", "application/json", "Line", "Line", "both CSV or both JSON"),
        ("text/csv", "text/csv", "Line", "None", "same SplitType and AssembleWith"),
        ("text/csv", "text/csv", "None", "None", "CSV needs SplitType Line"),
    ],
)
def test_requests_that_are_refused(
    content_type: str, accept: str, split: str, assemble: str, message: str
) -> None:
    with pytest.raises(AssociationError, match=message):
        Association.of(
            {
                "DataProcessing": {"JoinSource": "Input"},
                "TransformInput": {"ContentType": content_type, "SplitType": split},
                "TransformOutput": {"Accept": accept, "AssembleWith": assemble},
            }
        )


def test_defaults_change_nothing() -> None:
    request = {"DataProcessing": {"JoinSource": "None", "InputFilter": "$"}, "TransformInput": {}}
    assert Association.of(request) is None
