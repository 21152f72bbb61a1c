"""How a row of raw values becomes the numbers that a tree model reads.

Fitted on training rows only, stored as JSON, and used unchanged by training, evaluation and serving, so
that they cannot disagree. Numbers pass through; a category becomes its place in the list of categories;
missing values and categories that training did not see become NaN, which trees send down a branch of their
own.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.common.features import Feature, Value

SCHEMA = 1
MAX_CATEGORIES = 256
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoder:
    """`categories`: name of a categorical feature -> its categories in the order of their codes."""

    features: tuple[Feature, ...]
    categories: Mapping[str, tuple[str, ...]]
    _codes: tuple[dict[str, float] | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = tuple(
            {name: float(code) for code, name in enumerate(self.categories[feature.name])}
            if feature.kind == "categorical"
            else None
            for feature in self.features
        )
        object.__setattr__(self, "_codes", codes)

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's letters: q quantitative, c categorical."""
        return ["c" if feature.kind == "categorical" else "q" for feature in self.features]

    def encode(self, rows: Sequence[Sequence[Value]]) -> Matrix:
        """Rows of values in the order of `features` -> float32 matrix of shape (rows, features)."""
        encoded = [
            [
                math.nan if value is None else value if codes is None else codes.get(value, math.nan)  # type: ignore[arg-type]  # categorical values are text
                for value, codes in zip(row, self._codes, strict=True)
            ]
            for row in rows
        ]
        return np.array(encoded, dtype=np.float32).reshape(len(encoded), len(self.features))

    def to_json(self) -> str:
        document = {
            "schema": SCHEMA,
            "features": [
                feature.to_json()
                | ({"categories": self.categories[feature.name]} if feature.kind == "categorical" else {})
                for feature in self.features
            ],
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Encoder:
        """Raises ValueError with the reason if `text` is not an encoder."""
        try:
            document: Any = json.loads(text)
            if document["schema"] != SCHEMA:
                raise ValueError(f"schema {document['schema']!r} is not {SCHEMA}")
            features = tuple(Feature.from_json(item) for item in document["features"])
            categories = {
                feature.name: tuple(str(name) for name in item["categories"])
                for feature, item in zip(features, document["features"], strict=True)
                if feature.kind == "categorical"
            }
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not an encoder: {error!r}"[:500]) from error
        return cls(features, categories)


class CategoryCounter:
    """Counts categories row by row, so that a table larger than memory can be fitted.

    >>> counter = CategoryCounter((Feature("state", "categorical"), Feature("age", "numeric")))
    >>> counter.add(("NY", 30.0))
    >>> counter.encoder().categories
    {'state': ('NY',)}
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self.features = tuple(features)
        self._counts: dict[int, Counter[str]] = {
            index: Counter() for index, feature in enumerate(self.features) if feature.kind == "categorical"
        }

    def add(self, row: Sequence[Value]) -> None:
        for index, counter in self._counts.items():
            value = row[index]
            if isinstance(value, str):
                counter[value] += 1

    def encoder(self) -> Encoder:
        """The MAX_CATEGORIES most frequent categories of each feature, in alphabetical order."""
        categories = {}
        for index, counter in self._counts.items():
            ranked = sorted(counter, key=lambda name: (-counter[name], name))[:MAX_CATEGORIES]
            categories[self.features[index].name] = tuple(sorted(ranked))
        return Encoder(self.features, categories)
