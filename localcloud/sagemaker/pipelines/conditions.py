"""Conditions of a Condition step.

A step's conditions are ANDed; `Or` and `Not` nest. Follows
https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-condition.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
# Members each type needs; any other member is refused, as AWS does ("unknown property 'Expression'").
CONDITION_MEMBERS: dict[str, tuple[str, ...]] = {
    "Equals": ("LeftValue", "RightValue"),
    **dict.fromkeys(_ORDER, ("LeftValue", "RightValue")),
    "In": ("QueryValue", "Values"),
    "Not": ("Condition",),
    "Or": ("Conditions",),
}


class ConditionError(ValueError):
    """Two values that cannot be compared, or a condition that is not one."""


def evaluate_all(conditions: Sequence[dict[str, Any]], resolve: Callable[[Any], Any]) -> bool:
    """Whether all conditions hold.

    Args:
        conditions: the `Conditions` of a Condition step.
        resolve: turns an expression of the definition into its value.

    Raises:
        ConditionError: values of different types are compared.
    """
    return all(evaluate(condition, resolve) for condition in conditions)


def evaluate(condition: dict[str, Any], resolve: Callable[[Any], Any]) -> bool:
    """Whether one condition holds; see `evaluate_all`."""
    kind = condition["Type"]
    if kind == "Not":
        return not evaluate(condition["Condition"], resolve)
    if kind == "Or":
        return any(evaluate(item, resolve) for item in condition["Conditions"])
    if kind == "In":
        wanted = resolve(condition["QueryValue"])
        return any(_equal(wanted, resolve(item), kind) for item in condition["Values"])
    left, right = resolve(condition["LeftValue"]), resolve(condition["RightValue"])
    if kind == "Equals":
        return _equal(left, right, kind)
    if kind not in _ORDER:
        raise ConditionError(f"there is no condition type {kind!r}; known: {', '.join(CONDITION_MEMBERS)}")
    if isinstance(left, bool) or isinstance(right, bool):
        raise ConditionError(f"{kind} orders numbers or texts, not {left!r} and {right!r}")
    _require_same_type(left, right, kind)
    return _ORDER[kind](left, right)


def _equal(left: Any, right: Any, kind: str) -> bool:
    _require_same_type(left, right, kind)
    return bool(left == right)


def _require_same_type(left: Any, right: Any, kind: str) -> None:
    if _type(left) != _type(right):
        raise ConditionError(f"{kind} cannot compare {_type(left)} {left!r} with {_type(right)} {right!r}")


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "the boolean"
    if isinstance(value, int | float):
        return "the number"
    if isinstance(value, str):
        return "the text"
    raise ConditionError(f"conditions compare texts, numbers and booleans, not {value!r}")
