"""Conditions of a Condition step."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.conditions import ConditionError, evaluate, evaluate_all


def as_is(value: Any) -> Any:
    return value


def binary(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (binary("Equals", 1, 1.0), True),
        (binary("Equals", "a", "b"), False),
        (binary("Equals", True, True), True),
        (binary("GreaterThan", 2, 1.5), True),
        (binary("GreaterThan", 2, 2), False),
        (binary("GreaterThanOrEqualTo", 2, 2), True),
        (binary("LessThan", "a", "b"), True),
        (binary("LessThan", 2, 2), False),
        (binary("LessThanOrEqualTo", 5.5, 6), True),
        ({"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}, True),
        ({"Type": "In", "QueryValue": 3, "Values": [1, 2]}, False),
        ({"Type": "In", "QueryValue": 3, "Values": []}, False),
        ({"Type": "Not", "Condition": binary("Equals", 1, 1)}, False),
        ({"Type": "Or", "Conditions": [binary("Equals", 1, 2), binary("Equals", 1, 1)]}, True),
        ({"Type": "Or", "Conditions": []}, False),
        ({"Type": "Or", "Conditions": [{"Type": "Not", "Condition": binary("LessThan", 1, 0)}]}, True),
    ],
)
def test_operators(condition: dict[str, Any], outcome: bool) -> None:
    assert evaluate(condition, as_is) is outcome


def test_the_conditions_of_a_step_are_anded() -> None:
    true, false = binary("Equals", 1, 1), binary("Equals", 1, 2)
    assert evaluate_all([true, true], as_is)
    assert not evaluate_all([true, false], as_is)


def test_values_are_resolved_on_both_sides_and_in_lists() -> None:
    values = {"x": 3, "y": 4}
    resolve = lambda value: values.get(value, value)  # noqa: E731
    assert evaluate(binary("LessThan", "x", "y"), resolve)
    assert evaluate({"Type": "In", "QueryValue": "x", "Values": ["y", 3]}, resolve)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (binary("Equals", "1", 1), ["Equals", "'1'", "number"]),
        (binary("LessThanOrEqualTo", "5.5", 6.0), ["'5.5'", "6.0"]),
        (binary("GreaterThan", True, False), ["GreaterThan", "True"]),
        (binary("Equals", True, 1), ["boolean"]),
        (binary("Equals", None, 1), ["None"]),
        (binary("NotEquals", 1, 1), ["NotEquals", "Equals"]),
        ({"Type": "In", "QueryValue": 1, "Values": ["1"]}, ["In"]),
    ],
)
def test_types_that_do_not_compare_are_refused(condition: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConditionError) as error:
        evaluate(condition, as_is)
    for word in words:
        assert word in str(error.value)


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))


@given(NUMBERS, NUMBERS)
def test_the_orders_agree_with_each_other(left: float, right: float) -> None:
    less = evaluate(binary("LessThan", left, right), as_is)
    equal = evaluate(binary("Equals", left, right), as_is)
    assert evaluate(binary("GreaterThan", right, left), as_is) == less
    assert evaluate(binary("LessThanOrEqualTo", left, right), as_is) == (less or equal)
    assert evaluate({"Type": "Not", "Condition": binary("GreaterThanOrEqualTo", left, right)}, as_is) == less
