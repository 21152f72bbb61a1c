"""The arguments of the steps that know a dataset, as the pipeline's parameters give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.classification.datasets import ClassSchema, schema_for
from training.common.arguments import Parser
from training.common.failure import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`test_size`: share of the rows that are held out; `stratify`: the same share of each class."""

    test_size: float
    stratify: bool
    random_state: int


def parse_split(step: str, arguments: Sequence[str]) -> tuple[ClassSchema, Split]:
    """`--dataset D --target COLUMN --test-size 0.2 --stratify true --random-state 7`; raises UserError."""
    parser = Parser(step)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--test-size", type=float, default=0.2)
    parser.add_argument("--stratify", choices=("true", "false"), default="true")
    parser.add_argument("--random-state", type=int, default=7)
    options = parser.parse_args(list(arguments))
    if not 0 < options.test_size < 1:
        raise UserError(f"TestSize must be above 0 and below 1, got {options.test_size:g}")
    split = Split(
        test_size=options.test_size,
        stratify=options.stratify == "true",
        random_state=options.random_state,
    )
    return schema_for(options.dataset, options.target), split
