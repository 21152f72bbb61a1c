"""The documentation of pipelines names tests that exist, and has a row for every step type."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from localcloud.sagemaker.pipelines.step_parser import NOT_HERE
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs" / "pipelines.md"
_CELLS = 4


def rows() -> list[list[str]]:
    """The cells of every table row, heads and rules left out."""
    lines = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set(row[0]) <= set("-: ") and row[2] != "Tests"]


@cache
def names_in(file: str) -> frozenset[str]:
    """The tests of a file: `test_x`, and `TestY::test_x` of a class."""
    paths = list(TESTS.rglob(file))
    assert len(paths) == 1, f"{file}: {paths}"
    found = set()
    for node in ast.parse(paths[0].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.update(f"{node.name}::{f.name}" for f in node.body if isinstance(f, ast.FunctionDef))
    return frozenset(found)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_row_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == _CELLS
    named = re.findall(r"`(test_\w+\.py)::([\w:]+)`", row[2])
    assert named, "a row without a test is a claim"
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


def test_each_step_type_has_one_row() -> None:
    table = DOCS.read_text(encoding="utf-8").split("## Step types")[1].split("\n## ")[0]
    firsts = re.findall(r"^\| (`[^|]*) \|", table, flags=re.M)
    documented = [name for first in firsts for name in re.findall(r"`(\w+)`", first)]

    assert sorted(documented) == sorted({*STEP_TYPES, *NOT_HERE})
