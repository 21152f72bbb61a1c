"""The arguments that the steps which know a dataset share."""

from __future__ import annotations

from collections.abc import Sequence

from training.common.arguments import Parser
from training.tabular.datasets import TableSchema, schema_for


def parse_schema(step: str, arguments: Sequence[str]) -> TableSchema:
    """`--dataset NAME --target COLUMN` -> the schema of that table."""
    parser = Parser(step)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--target", required=True)
    options = parser.parse_args(list(arguments))
    return schema_for(options.dataset, options.target)
