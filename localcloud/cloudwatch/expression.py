"""Metric math, as far as alarms here take it. No I/O.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Series = list[float | None]
# One series, a number being the same in each period, or several (of METRICS() or [m1, m2]).
Value = Series | tuple[Series, ...]

_TOKEN = re.compile(
    r'\s*(?:(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|([A-Za-z]\w*)|("[^"]*")|(&&|\|\||<=|>=|==|!=|<>|[-+*/^()<>,\[\]]))'
)
_WORDS = {"AND": "&&", "OR": "||"}
_BINDING = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<>": 3, "<": 4, ">": 4, "<=": 4, ">=": 4}
_BINDING |= {"+": 5, "-": 5, "*": 6, "/": 6, "^": 8}
_NEGATION = 7
_MOST_WORDS = 200  # each may be a level of nesting, and so of recursion
_OPERATIONS: dict[str, Callable[[float, float], float | None]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    # CloudWatch has no datapoint where a quotient is none.
    "/": lambda a, b: a / b if b else None,
    "^": lambda a, b: _power(a, b),  # noqa: PLW0108 - defined below
    "<": lambda a, b: float(a < b),
    ">": lambda a, b: float(a > b),
    "<=": lambda a, b: float(a <= b),
    ">=": lambda a, b: float(a >= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "<>": lambda a, b: float(a != b),
    "&&": lambda a, b: float(bool(a) and bool(b)),
    "||": lambda a, b: float(bool(a) or bool(b)),
}
_SINGLE: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_TOGETHER: dict[str, Callable[[Sequence[float]], float]] = {
    "AVG": lambda values: sum(values) / len(values),
    "MAX": max,
    "MIN": min,
    "SUM": sum,
}
_ARGUMENTS: dict[str, tuple[int, ...]] = {"FILL": (2,), "IF": (2, 3), "METRICS": (0, 1), "PERIOD": (1,)}
_ARGUMENTS |= dict.fromkeys([*_SINGLE, *_TOGETHER], (1,))


class ExpressionError(ValueError):
    """An expression that cannot be read, or asks for what is not done here."""


@dataclass(frozen=True, slots=True)
class Node:
    """A parsed expression: `kind` is number, name, text, call, array, negate, or an operator."""

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()

    def names(self) -> set[str]:
        """Ids that it refers to."""
        found = {self.text} if self.kind == "name" else set()
        return found.union(*(part.names() for part in self.parts))


def parse(text: str) -> Node:
    """Read an expression.

    Example:
        >>> sorted(parse("100 * errors / MAX([errors, requests])").names())
        ['errors', 'requests']

    Raises:
        ExpressionError: it is none, or calls a function that is not known here.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._tokens, at = text, [], 0
        stripped = text.rstrip()
        while at < len(stripped):
            found = _TOKEN.match(stripped, at)
            if found is None:
                raise ExpressionError(f"{text!r} cannot be read from {stripped[at:].lstrip()!r} on.")
            token = found[found.lastindex or 0]
            self._tokens.append(_WORDS.get(token, token))
            at = found.end()
        if len(self._tokens) > _MOST_WORDS:
            raise ExpressionError(f"An expression here has at most {_MOST_WORDS} words and signs.")
        self._at = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._peek():
            raise self._wrong()
        return node

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            self._at -= 1
            raise self._wrong()

    def _wrong(self) -> ExpressionError:
        return ExpressionError(f"{self._text!r} cannot be read at {self._peek() or 'its end'!r}.")

    def _expression(self, least: int) -> Node:
        left = self._operand()
        while (binding := _BINDING.get(self._peek(), 0)) > least:
            kind = self._next()
            # Powers bind to the right.
            left = Node(kind, parts=(left, self._expression(binding - (kind == "^"))))
        return left

    def _operand(self) -> Node:
        word = self._next()
        if word == "-":
            return Node("negate", parts=(self._expression(_NEGATION),))
        if word == "[":
            return Node("array", parts=self._list("]"))
        if word == "(":
            node = self._expression(0)
            self._take(")")
            return node
        if word[:1].isalpha():
            return self._call(word) if self._peek() == "(" else Node("name", word)
        if word[:1] == '"' or word[:1].isdigit():
            return Node("text", word[1:-1]) if word[:1] == '"' else Node("number", word)
        self._at -= 1
        raise self._wrong()

    def _list(self, end: str) -> tuple[Node, ...]:
        parts: list[Node] = []
        if self._peek() == end:
            self._next()
            return ()
        while True:
            parts.append(self._expression(0))
            if self._peek() != ",":
                break
            self._next()
        self._take(end)
        return tuple(parts)

    def _call(self, name: str) -> Node:
        self._take("(")
        parts = self._list(")")
        counts = _ARGUMENTS.get(name)
        if counts is None:
            raise ExpressionError(
                f"{self._text!r}: the local CloudWatch does not know {name}; it knows "
                f"{', '.join(sorted(_ARGUMENTS))}."
            )
        if len(parts) not in counts:
            raise ExpressionError(f"{self._text!r}: {name} does not take {len(parts)} arguments.")
        return Node("call", name, parts)


def evaluate(node: Node, series: Mapping[str, Series], metrics: Sequence[str], period: int) -> Series:
    """The expression in each period, None where it has no datapoint.

    Args:
        series: by id, all of one length.
        metrics: ids that METRICS() stands for, those of metrics but not of expressions.
        period: in seconds.

    Raises:
        ExpressionError: it comes to no single series, or names what is not there.
    """
    count = len(next(iter(series.values()), []))
    return _Evaluation(series, metrics, period, count).one(node)


class _Evaluation:
    def __init__(self, series: Mapping[str, Series], metrics: Sequence[str], period: int, count: int) -> None:
        self._series, self._metrics, self._period, self._count = series, metrics, period, count

    def one(self, node: Node) -> Series:
        value = self._value(node)
        if isinstance(value, tuple):
            raise ExpressionError("several time series stand where an alarm needs one.")
        return value

    def _value(self, node: Node) -> Value:
        match node.kind:
            case "number":
                value: Value = self._constant(float(node.text))
            case "name":
                if node.text not in self._series:
                    raise ExpressionError(f"there is no metric or expression {node.text}.")
                value = self._series[node.text]
            case "array":
                value = tuple(self.one(part) for part in node.parts)
            case "negate":
                value = self._each(operator.neg, node.parts[0])
            case "call":
                value = self._called(node.text, node.parts)
            case "text":
                raise ExpressionError(f'"{node.text}" is no number.')
            case _:
                operation = _OPERATIONS[node.kind]
                pairs = zip(*(self.one(part) for part in node.parts), strict=True)
                value = [None if a is None or b is None else operation(a, b) for a, b in pairs]
        return value

    def _called(self, name: str, parts: tuple[Node, ...]) -> Value:
        match name:
            case "METRICS":
                part = parts[0].text if parts else ""
                return tuple(self._series[one] for one in self._metrics if part in one)
            case "PERIOD":
                return self._constant(float(self._period))
            case "FILL":
                return self._filled(self.one(parts[0]), parts[1])
            case "IF":
                return self._chosen(*(self.one(part) for part in parts))
        if name in _SINGLE:
            return self._each(_SINGLE[name], parts[0])
        return self._together(_TOGETHER[name], self._value(parts[0]))

    def _constant(self, value: float | None) -> Series:
        return [value] * self._count

    def _each(self, function: Callable[[float], float], node: Node) -> Series:
        return [None if item is None else float(function(item)) for item in self.one(node)]

    def _together(self, function: Callable[[Sequence[float]], float], value: Value) -> Series:
        if isinstance(value, tuple):
            columns = zip(*value, strict=True) if value else iter([()] * self._count)
            known = [[item for item in column if item is not None] for column in columns]
            return [float(function(items)) if items else None for items in known]
        items = [item for item in value if item is not None]
        return self._constant(float(function(items)) if items else None)

    def _filled(self, series: Series, how: Node) -> Series:
        if how.kind == "name" and how.text == "LINEAR":
            raise ExpressionError("the local CloudWatch fills with a number or REPEAT, not LINEAR.")
        if how.kind == "name" and how.text == "REPEAT":
            filled: Series = []
            for item in series:
                filled.append(item if item is not None or not filled else filled[-1])
            return filled
        values = self.one(how)
        return [value if item is None else item for item, value in zip(series, values, strict=True)]

    def _chosen(self, condition: Series, yes: Series, no: Series | None = None) -> Series:
        other = self._constant(None) if no is None else no
        return [
            None if test is None else positive if test else negative
            for test, positive, negative in zip(condition, yes, other, strict=True)
        ]


def _power(base: float, exponent: float) -> float | None:
    try:
        value = base**exponent
    except (OverflowError, ZeroDivisionError):
        return None
    return float(value) if isinstance(value, float | int) and math.isfinite(value) else None
