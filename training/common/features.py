"""What a column may hold, and how a value of it is read from a CSV cell or from a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["numeric", "categorical"]
Value = float | str | None
MAX_TEXT = 1024


@dataclass(frozen=True, slots=True)
class Feature:
    """A column that a model reads. A missing value is None, an empty CSV cell, JSON's null."""

    name: str
    kind: Kind

    def parse(self, text: str) -> Value:
        """The value of a CSV cell; raises ValueError with the reason.

        >>> Feature("income", "numeric").parse("52000"), Feature("state", "categorical").parse("")
        (52000.0, None)
        """
        if not text:
            return None
        if self.kind == "categorical":
            return _text(text)
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"{_shown(text)} is not a number") from None
        if not math.isfinite(number):
            raise ValueError(f"{_shown(text)} is not a finite number")
        return number

    def check(self, value: object) -> Value:
        """The value of a request's member; raises ValueError with the reason.

        >>> Feature("income", "numeric").check(52000)
        52000.0
        """
        if value is None:
            return None
        if self.kind == "categorical":
            if isinstance(value, str):
                return _text(value) or None
            raise ValueError(f"needs text or null, got {_kind(value)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"needs a number or null, got {_kind(value)}")
        try:
            number = float(value)
        except OverflowError:
            raise ValueError("is too large for a number") from None
        if not math.isfinite(number):
            raise ValueError("needs a finite number or null")
        return number

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "kind": self.kind}

    @classmethod
    def from_json(cls, document: Any) -> Feature:
        name, kind = document["name"], document["kind"]
        if not isinstance(name, str) or kind not in ("numeric", "categorical"):
            raise ValueError(
                f"a feature needs a name and a kind numeric or categorical, got {_shown(document)}"
            )
        return cls(name, kind)


def _text(value: str) -> str:
    if len(value) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} characters")
    return value


def _kind(value: object) -> str:
    """In the place of a request's value, which logs and other people's screens must not repeat."""
    kinds = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
