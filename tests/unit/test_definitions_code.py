"""The files of a step's archive: its module and what it imports, no more and no less."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_defs.catalog import PIPELINES
from pipeline_defs.code import REPO, CodeError, code_files, import_statements

MODULES = sorted({module for spec in PIPELINES for module in spec.code.values()})
NAMES = [f"m{index}" for index in range(6)]
FORMS = (
    "import training.{0}",
    "from training import {0}",
    "from training.{0} import x",
    "from training import (\n    {0},  # why\n)",
    "from . import {0}",
    "from .{0} import x",
    "def f():\n    import training.{0}",
    "if False:\n    from . import {0} as y",
)
edges = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(FORMS)), max_size=12
)


@settings(deadline=None)
@given(edges=edges)
def test_the_closure_is_what_can_be_reached(tmp_path_factory, edges):
    root = tmp_path_factory.mktemp("code")
    (root / "training").mkdir()
    (root / "training" / "__init__.py").touch()
    for name in NAMES:
        body = "\n".join(form.format(to) for source, to, form in edges if source == name)
        (root / "training" / f"{name}.py").write_text(f"import os, json.decoder\nx = 1\n{body}\n")
    reached, pending = set(), ["m0"]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += [to for source, to, _ in edges if source == name]
    expected = {"training/__init__.py", *(f"training/{name}.py" for name in reached)}
    assert code_files("training.m0", root) == tuple(sorted(expected))


@pytest.mark.parametrize("path", sorted((REPO / "training").rglob("*.py")), ids=lambda path: path.stem)
def test_no_import_statement_is_overlooked(path):
    """The statements are found by their looks, for speed; the syntax tree is the truth."""

    def lines(nodes):
        return sorted({ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)})

    source = path.read_bytes()
    assert set(lines(ast.walk(ast.parse(source)))) <= set(lines(import_statements(source)))


@pytest.mark.parametrize("module", MODULES)
def test_a_step_imports_from_its_archive_alone(tmp_path, module):
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for name in code_files(module):
            bundle.write(REPO / name, name)
    zipfile.ZipFile(archive).extractall(tmp_path / "code")
    script = f"import {module}, sys; print([n for n, m in sys.modules.items() if n.startswith('training')])"
    result = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(tmp_path / "code"), "PATH": ""},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert module in result.stdout


@pytest.mark.parametrize("family", ["tabular", "classification", "vision"])
def test_a_change_of_evaluation_leaves_the_other_archives_alone(family):
    for module in MODULES:
        holds = f"training/{family}/evaluate.py" in code_files(module)
        assert holds == (module == f"training.{family}.evaluate")


def test_packages_on_the_way_are_included():
    files = code_files("training.tabular.validate")
    assert {"training/__init__.py", "training/tabular/__init__.py"} <= set(files)
    assert files == tuple(sorted(files))
    assert all((REPO / name).is_file() for name in files)


def test_a_missing_module_is_named():
    with pytest.raises(CodeError, match=r"training\.tabular\.nothing, but there is no such module under"):
        code_files("training.tabular.nothing")


def test_a_missing_import_is_named(tmp_path: Path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").touch()
    (tmp_path / "training" / "a.py").write_text("import training.b")
    with pytest.raises(CodeError, match=r"training\.b is needed by training\.a"):
        code_files("training.a", tmp_path)
