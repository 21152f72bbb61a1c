"""Ranges of hyperparameters, as a tuning job's request writes them.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.sagemaker.errors import ServiceError, validation

MOST_RANGES = (
    30  # over all kinds, https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ParameterRanges.html
)
_LARGEST_INTEGER = 2**53  # beyond it a float, which samplers calculate with, skips integers
_MANY_TIMES = 100  # from this ratio of its bounds on, Auto takes a range for one of magnitudes
Scaling = Literal["Linear", "Logarithmic", "ReverseLogarithmic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """An integer or continuous range, both bounds included."""

    name: str
    low: float
    high: float
    scaling: Scaling
    integer: bool

    @property
    def combinations(self) -> float:
        """How many values it holds; infinite for a continuous one."""
        return self.high - self.low + 1 if self.integer else math.inf

    def write(self, value: float) -> str:
        """A value as the hyperparameter's text, never outside the bounds."""
        inside = min(max(value, self.low), self.high)
        return str(int(inside)) if self.integer else repr(float(inside))

    def read(self, text: str) -> float | None:
        """The value of a text, None if it is no number of this range."""
        value = _integer(text) if self.integer else _float(text)
        return value if value is not None and self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A list of texts to choose from."""

    name: str
    values: tuple[str, ...]

    @property
    def combinations(self) -> float:
        """How many values it holds."""
        return len(self.values)


Range = Number | Category


def parse_ranges(ranges: Mapping[str, Any], where: str) -> tuple[Range, ...]:
    """Read a `ParameterRanges` structure.

    Args:
        ranges: checked against its shape.
        where: what messages call it.

    Raises:
        ServiceError: ValidationException for a range that cannot be searched.

    Example:
        >>> parse_ranges({"CategoricalParameterRanges": [{"Name": "c", "Values": ["a"]}]}, "ParameterRanges")
        (Category(name='c', values=('a',)),)
    """
    if ranges.get("AutoParameters"):
        raise validation(
            f"{where}: the local SageMaker does not support AutoParameters, whose ranges only AWS's Autotune "
            "can find; give each hyperparameter a range."
        )
    found: list[Range] = [
        _number(item, where, integer=kind == "IntegerParameterRanges")
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
        for item in ranges.get(kind, [])
    ]
    found += [_category(item, where) for item in ranges.get("CategoricalParameterRanges", [])]
    if not found:
        raise validation(f"{where}: at least one hyperparameter range is required.")
    if len(found) > MOST_RANGES:
        raise validation(f"{where}: {len(found)} hyperparameter ranges exceed the limit of {MOST_RANGES}.")
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise validation(f"{where}: the hyperparameter {name} has more than one range.")
    return tuple(found)


def combinations(ranges: tuple[Range, ...]) -> float:
    """How many configurations there are; infinite with a continuous range."""
    return math.prod(item.combinations for item in ranges)


def _number(item: Mapping[str, str], where: str, *, integer: bool) -> Number:
    place = f"{where}: the range of {item['Name']}"
    read = _integer if integer else _float
    low, high = read(item["MinValue"]), read(item["MaxValue"])
    if low is None or high is None:
        kind = "integers" if integer else "numbers"
        raise validation(
            f"{place} has the bounds {item['MinValue']} and {item['MaxValue']}, which must be {kind}."
        )
    if not low < high:
        raise validation(
            f"{place}: MinValue {item['MinValue']} must be less than MaxValue {item['MaxValue']}."
        )
    if (integer and max(-low, high) > _LARGEST_INTEGER) or not math.isfinite(high - low):
        raise validation(f"{place} is too wide: {item['MinValue']} to {item['MaxValue']}.")
    scaling = _scaling(item.get("ScalingType", "Auto"), low, high, integer=integer, place=place)
    return Number(name=item["Name"], low=low, high=high, scaling=scaling, integer=integer)


def _scaling(name: str, low: float, high: float, *, integer: bool, place: str) -> Scaling:
    if name == "Logarithmic":
        if low <= 0:
            raise validation(f"{place}: Logarithmic scaling needs values greater than 0.")
        return "Logarithmic"
    if name == "ReverseLogarithmic":
        if integer:
            raise validation(f"{place}: ReverseLogarithmic scaling is for continuous ranges only.")
        if low < 0 or high >= 1:
            raise validation(f"{place}: ReverseLogarithmic scaling needs values from 0 to less than 1.")
        return "ReverseLogarithmic"
    if name == "Auto" and low > 0 and high / low >= _MANY_TIMES:
        return "Logarithmic"
    return "Linear"


def _category(item: Mapping[str, Any], where: str) -> Category:
    values: list[str] = item["Values"]
    for value in values:
        if values.count(value) > 1:
            raise validation(f"{where}: the range of {item['Name']} has the value {value!r} more than once.")
    return Category(name=item["Name"], values=tuple(values))


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def not_enough(found: float, wanted: int) -> ServiceError:
    """AWS's words for a space smaller than the number of training jobs."""
    return validation(
        "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
        f"combinations for the provided ranges [{found:.1f}] must be equal or greater than the value of "
        f"MaxNumberOfJobs, [{wanted}]. Provide additional ranges."
    )
