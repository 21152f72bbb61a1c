"""Metric math of alarms, against Python's own arithmetic and CloudWatch's documented rules."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.cloudwatch.expression import ExpressionError, Series, evaluate, parse
from localcloud.cloudwatch.queries import read

DATA: dict[str, Series] = {
    "errors": [1.0, None, 3.0, 0.0],
    "requests": [10.0, 20.0, None, 0.0],
    "e1": [2.0, 2.0, 2.0, 2.0],
}


def value(text: str, metrics: tuple[str, ...] = ("errors", "requests")) -> Series:
    return evaluate(parse(text), DATA, metrics, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A datapoint only where all have one, and none where a quotient is none.
        ("100 * errors / requests", [10.0, None, None, None]),
        ("errors + 1", [2.0, None, 4.0, 1.0]),
        ("-errors ^ 2", [-1.0, None, -9.0, 0.0]),
        ("2 ^ 3 ^ 2", [512.0] * 4),
        ("10 - 4 - 3", [3.0] * 4),
        ("2 + 3 * (4 - 1) / 3", [5.0] * 4),
        ("errors > 0 AND requests >= 10", [1.0, None, None, 0.0]),
        ("errors == 0 || errors <> 1", [0.0, None, 1.0, 1.0]),
        ("IF(errors > 0, 5, 7)", [5.0, None, 5.0, 7.0]),
        ("IF(errors > 0, errors)", [1.0, None, 3.0, None]),
        ("FILL(errors, 0)", [1.0, 0.0, 3.0, 0.0]),
        ("FILL(errors, REPEAT)", [1.0, 1.0, 3.0, 0.0]),
        ("FILL(errors, e1)", [1.0, 2.0, 3.0, 0.0]),
        # Of several series by period, of one series over all of them.
        ("SUM(METRICS())", [11.0, 20.0, 3.0, 0.0]),
        ('SUM(METRICS("err"))', [1.0, None, 3.0, 0.0]),
        ("MAX([errors, e1])", [2.0, 2.0, 3.0, 2.0]),
        ("AVG([errors, requests])", [5.5, 20.0, 3.0, 0.0]),
        ("MAX(errors)", [3.0] * 4),
        ("MIN(requests) + 1", [1.0] * 4),
        ("CEIL(errors / 2) + FLOOR(0.9) + ABS(-1)", [2.0, None, 3.0, 1.0]),
        ("errors / PERIOD(errors) * 60", [1.0, None, 3.0, 0.0]),
        ("10 ^ 400", [None] * 4),
    ],
)
def test_expressions(text: str, expected: Series) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("errors +", "its end"),
        ("errors requests", "'requests'"),
        ("(errors", "its end"),
        ("errors @ 2", "cannot be read from '@ 2'"),
        ("ANOMALY_DETECTION_BAND(errors)", "does not know ANOMALY_DETECTION_BAND"),
        ("ABS()", "ABS does not take 0"),
        ("METRICS()", "several time series"),
        ("[errors, requests] * 2", "several time series"),
        ("nothing + 1", "no metric or expression nothing"),
        ('"text" + 1', "is no number"),
        ("FILL(errors, LINEAR)", "not LINEAR"),
    ],
)
def test_what_cannot_be_is_told(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words.replace("(", r"\(").replace(")", r"\)")):
        value(text)


_NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3))
_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@st.composite
def _trees(draw: Any, depth: int = 3) -> tuple[str, float]:
    """An expression's text in full parentheses, and what it comes to."""
    if depth == 0 or draw(st.booleans()):
        number = abs(draw(_NUMBERS))
        return repr(number), number
    (left, a), (right, b) = draw(_trees(depth - 1)), draw(_trees(depth - 1))
    sign = draw(st.sampled_from(sorted(_SIGNS)))
    return f"({left} {sign} {right})", _SIGNS[sign](a, b)


@given(_trees())
def test_arithmetic_is_pythons(tree: tuple[str, float]) -> None:
    text, expected = tree
    assert value(text) == [pytest.approx(expected)] * 4


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except ExpressionError:
        return


@pytest.mark.parametrize("text", ["(" * 1000 + "1" + ")" * 1000, "-" * 2000 + "1", "+".join("1" * 900)])
def test_expressions_are_bounded(text: str) -> None:
    with pytest.raises(ExpressionError, match="at most 200 words"):
        parse(text)


@pytest.mark.parametrize("text", ["(" * 99 + "1" + ")" * 99, "-" * 199 + "1", "+".join("1" * 100)])
def test_the_deepest_are_evaluated(text: str) -> None:
    found = read([{"Id": "x", "Expression": text}, stat("a", ReturnData=False)])
    assert found.points(lambda *_: [None], 0.0, 60.0, 1)[0] in (1.0, -1.0, 100.0)


def stat(name: str, period: int = 60, **members: Any) -> dict[str, Any]:
    metric = {"Namespace": "shop", "MetricName": name}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": "Sum"}, **members}


def test_expressions_may_stand_before_what_they_refer_to() -> None:
    found = read(
        [
            {"Id": "rate", "Expression": "100 * share"},
            {"Id": "share", "Expression": "errors / requests", "ReturnData": False},
            stat("errors", ReturnData=False),
            stat("requests", ReturnData="false"),
        ]
    )
    asked: list[str] = []

    def source(metric: Any, end: float, seconds: float, count: int) -> Series:
        asked.append(metric["MetricName"])
        return [1.0 if metric["MetricName"] == "errors" else 4.0] * count

    assert found.points(source, 0.0, 60.0, 2) == [25.0, 25.0]
    assert (asked, found.period) == (["errors", "requests"], 60)


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        ([stat("a"), stat("b")], "Exactly one element"),
        ([stat("a", ReturnData=False)], "Exactly one element"),
        ([stat("a"), stat("a", ReturnData=False)], "the Id a twice"),
        ([{"Id": "x", "Expression": "y"}, stat("a", ReturnData=False)], "not there: y"),
        ([stat("a"), stat("b", 300, ReturnData=False)], "one period"),
        ([{"Id": "x", "Expression": "1"}], "at least one"),
        ([{"Id": "x"}], "neither MetricStat nor Expression"),
    ],
)
def test_queries_that_cannot_be(queries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        read(queries)
