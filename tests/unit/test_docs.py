"""The documentation speaks of commands, files, tests and benchmarks that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

from benchmarks.__main__ import NAMES
from modelyard_cli.main import app

REPO = Path(__file__).parents[2]
PAGES = sorted(
    [
        REPO / "README.md",
        *(REPO / "docs").glob("*.md"),
        *(REPO / "constructs" / "modelyard").glob("*/README.md"),
        REPO / "training" / "README.md",
        REPO / "modelyard_client" / "README.md",
    ]
)
_DIFFERENCES = REPO / "localcloud" / "aws" / "differences"


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_x`, `TestY` and `TestY::test_x` of a file."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
            found.update(f"{node.name}::{f.name}" for f in node.body if isinstance(f, ast.FunctionDef))
    return frozenset(found)


@cache
def all_tests() -> frozenset[str]:
    return frozenset().union(*(names_in(path) for path in (REPO / "tests").rglob("test_*.py")))


def missing(mention: str) -> bool:
    """Whether a test that a page names, alone or after its file, does not exist; `...` stands for more."""
    file, _, test = mention.partition("::") if ".py" in mention else ("", "", mention.removeprefix("::"))
    if "..." in test:
        return not any(name.startswith(test.partition("...")[0]) for name in all_tests())
    pattern = file.removeprefix("tests/") or "test_*.py"
    paths = [path for path in (REPO / "tests").rglob(pattern.rpartition("/")[2]) if path.match(pattern)]
    return not paths or (bool(test) and not any(test in names_in(path) for path in paths))


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(REPO)))
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def words(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", words(page))
    local = [link for link in links if not link.startswith(("http", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_tests_exist(page: Path) -> None:
    mentions = re.findall(r"`((?:tests/\w[\w/]*/)?test_\w+\.py(?:::[\w:]+)?)`", words(page))
    mentions += re.findall(r"`((?:::)?(?:test_|Test[A-Z])[\w:.]*)`", words(page))
    patterns = re.findall(r"`(?:tests/)?([\w/]*test_\w+\*)`", words(page))
    folders = re.findall(r"`(tests/\w[\w/]*)`", words(page))
    assert [mention for mention in mentions if missing(mention)] == []
    assert [each for each in patterns if not any((REPO / "tests").rglob(f"{Path(each).name}.py"))] == []
    assert [each for each in folders if not (REPO / each).is_dir()] == []


def test_commands_exist(page: Path) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = re.findall(r"(?:^|[`(/ ])modelyard ((?!-)[a-z]+)", words(page), flags=re.MULTILINE)
    assert [name for name in named if name not in known] == []


def test_targets_of_make_exist(page: Path) -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:`|^)(?:[A-Z]+=\w+ )?make ([a-z]+)", words(page), flags=re.MULTILINE)
    assert [name for name in named if name not in known] == []


def test_benchmarks_exist(page: Path) -> None:
    named = re.findall(r"python -m benchmarks ([a-z_]+)", words(page))
    assert [name for name in named if name not in NAMES] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [REPO / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s:]+)\)", words(page))]
    pages = {path for path in PAGES if path.parent.parent.name != "modelyard"}
    assert pages - reached == set()


def test_every_difference_has_its_row() -> None:
    table = words(REPO / "docs" / "local-cloud.md").split("is put right here")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|\n)", table))
    # What several of them share.
    shared = {"kms_use", "service_roles"}
    assert {path.stem for path in _DIFFERENCES.glob("[a-z]*.py")} - named == shared


@pytest.mark.parametrize("mention", ["test_docs.py::test_none", "test_none.py", "TestNone", "test_none_..."])
def test_what_does_not_exist_is_noticed(mention: str) -> None:
    assert missing(mention)
