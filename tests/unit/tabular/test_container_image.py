"""The Dockerfile: what it copies and runs exists, and no step's code is in its context."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_defs.catalog import PIPELINES
from pipeline_defs.code import code_files

CONTEXT = Path(__file__).parents[3] / "training"
TEXT = re.sub(r"\\\n\s*", "", (CONTEXT / "Dockerfile").read_text())
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def arguments(instruction):
    return [line.removeprefix(instruction).strip() for line in LINES if line.startswith(instruction + " ")]


def copied():
    return dict(line.split() for line in arguments("COPY"))


def allowed():
    lines = [line for line in (CONTEXT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*", "the context must be an allow-list"
    return {line[1:] for line in lines if line.startswith("!")}


def test_what_is_copied_exists_and_is_in_the_context():
    for source in copied():
        assert (CONTEXT / source).exists(), source
    assert set(copied()) == allowed()


def test_no_step_is_in_the_context():
    for spec in PIPELINES:
        for module in spec.code.values():
            assert module.split(".")[1] not in allowed()


def test_the_image_holds_all_that_its_entry_points_import():
    """The entry points and the server, with what they import, and nothing that only a step has."""
    needed = {*code_files("training.container.__main__"), *code_files("training.serving.server")}
    for name in needed:
        assert Path(name).relative_to("training").parts[0] in allowed(), name


def test_code_lies_where_python_finds_it():
    (environment,) = arguments("ENV")
    root = dict(item.split("=") for item in environment.split())["PYTHONPATH"]
    for source, target in copied().items():
        if source != "requirements.txt":
            assert target == f"{root}/training/{source}"
    assert arguments("WORKDIR") == [root]


def test_the_entry_point_is_a_module_that_exists():
    assert arguments("ENTRYPOINT") == ['["python", "-m", "training.container"]']
    assert (CONTEXT / "container" / "__main__.py").is_file()


def test_what_it_runs_exists():
    runs = " ".join(arguments("RUN"))
    modules = set(re.findall(r"training(?:\.\w+)+", runs))
    assert modules
    for module in modules:
        assert CONTEXT.parent.joinpath(*module.split(".")).with_suffix(".py").is_file(), module
    assert "requirements.txt" in runs


def test_sagemakers_capabilities_are_declared():
    labels = dict(re.findall(r'com\.amazonaws\.sagemaker\.capabilities\.([a-z-]+)="(\w+)"', TEXT))
    assert labels == {"multi-models": "true", "accept-bind-to-port": "true"}


def test_the_base_is_pinned_and_slim():
    (base,) = arguments("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_requirements_are_pinned_complete_and_what_is_tested_here():
    lines = (CONTEXT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and line[0] != "#")
    for name, version in pins.items():
        assert importlib.metadata.version(name) == version, name
        for requirement in importlib.metadata.requires(name) or []:
            if "extra ==" in requirement or "platform" in requirement or "python_version" in requirement:
                continue
            needed = re.match(r"[\w-]+", requirement)
            assert needed is not None
            assert needed[0] in pins, f"{name} needs {needed[0]}, and pip runs with --no-deps"


@pytest.mark.parametrize("name", ["boto3", "sagemaker", "pandas", "aws_cdk"])
def test_nothing_heavy_or_foreign_is_imported(name):
    for path in CONTEXT.rglob("*.py"):
        assert not re.search(rf"^\s*(import|from) {name}\b", path.read_text(), re.MULTILINE), path


def test_the_server_is_imported_without_what_only_a_model_needs():
    """Start-up time: XGBoost (with SciPy, 0.4 s) is loaded beside the running server, pandas never."""
    script = "import training.serving.server, sys; print({'xgboost', 'scipy', 'pandas'} & sys.modules.keys())"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=CONTEXT.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
