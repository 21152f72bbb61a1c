"""The arguments that the steps which know a dataset share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from training.common.failure import UserError
from training.tabular.datasets import TableSchema, schema_for


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")


def parse_schema(step: str, arguments: Sequence[str]) -> TableSchema:
    """`--dataset NAME --target COLUMN` -> the schema of that table."""
    parser = _Parser(prog=step, add_help=False)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--target", required=True)
    options = parser.parse_args(list(arguments))
    return schema_for(options.dataset, options.target)
