"""The image's entry points, started as SageMaker starts them, with code archives as they are deployed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline_defs.code import code_files

REPO = Path(__file__).parents[3]


@pytest.fixture
def start(container):
    """Runs `python -m training.container ARGS` in an image that holds no step code."""
    program = container.root.parent / "program"
    for folder in ("common", "container", "serving"):
        target = program / "training" / folder
        target.parent.mkdir(exist_ok=True, parents=True)
        target.symlink_to(REPO / "training" / folder)
    (program / "training" / "__init__.py").symlink_to(REPO / "training" / "__init__.py")

    def run(*arguments, **variables):
        environment = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(container.root),
            "PYTHONPATH": str(program),
            "TMPDIR": str(container.root.parent),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "training.container", *arguments],
            env=environment, cwd=program, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


def put_code(folder, module, extra=()):
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "0123abcd.zip", "w") as bundle:
        for name in code_files(module):
            bundle.write(REPO / name, name)
        for name, content in extra:
            bundle.writestr(name, content)


def message(container):
    return (container.root / "output" / "message").read_text()


def test_a_step_runs_from_its_archive(container, start, loans):
    container.write_input("data", loans(50))
    put_code(container.root / "processing" / "input" / "code", "training.tabular.validate")
    result = start(
        "step", "--module", "training.tabular.validate", "--dataset", "loans", "--target", "interest_rate"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "50 rows, 41 features: as expected" in result.stdout
    assert (container.output("report") / "data_report.json").is_file()


def test_the_archive_comes_before_the_image(container, start, loans):
    """A step whose archive holds another version of a module that the image has too must see its own."""
    container.write_input("data", loans(50))
    folder = container.root / "processing" / "input" / "code"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "a.zip", "w") as bundle:
        bundle.writestr("training/__init__.py", "")
        bundle.writestr("training/common/__init__.py", "")
        bundle.writestr("training/common/table.py", "NAME = 'archive'")
        bundle.writestr("training/probe.py", "from training.common.table import NAME\nprint(NAME)")
    result = start("step", "--module", "training.probe")
    assert result.stdout.splitlines()[-1] == "archive"


def test_a_mistake_in_a_step_reaches_the_message_file(container, start):
    put_code(container.root / "processing" / "input" / "code", "training.tabular.validate")
    result = start("step", "--module", "training.tabular.validate", "--dataset", "cats", "--target", "x")
    assert result.returncode == 1
    assert message(container) == "unknown dataset 'cats'; known: loans"
    assert "Traceback" not in result.stderr


def test_training_runs_the_module_that_the_environment_names(container, start, trained):
    put_code(container.root / "input" / "data" / "code", "training.tabular.train")
    for name in ("train", "validation", "encoder"):
        container.channel(name, trained.output(name))
    container.config("hyperparameters.json", {"num_round": "3"})
    result = start("train", STEP_MODULE="training.tabular.train")
    assert (result.returncode, result.stderr) == (0, "")
    assert (container.root / "model" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {}, "needs train, serve, or step --module MODULE, got nothing"),
        (("test",), {}, "got test"),
        (("step",), {}, "got step"),
        (("step", "--module", "os"), {}, "processing input 'code' is missing"),
        (("train",), {"STEP_MODULE": ""}, "STEP_MODULE must name the module that trains"),
        (("train",), {"STEP_MODULE": "training.tabular.train"}, "training channel 'code' is missing"),
        (("serve",), {}, "cannot be served: manifest.json is missing"),
        (("serve",), {"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT needs a whole number"),
    ],
)
def test_a_bad_start_is_one_line(container, start, arguments, variables, expected):
    result = start(*arguments, **variables)
    assert result.returncode == 1
    assert expected in message(container)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "extra", "expected"),
    [
        ("os.path", (), "'os.path' is not the name of a module in training"),
        ("training.tabular.train", (), "code archive 0123abcd.zip does not hold training.tabular.train"),
        (
            "training.tabular.validate",
            (("../evil.py", "x"),),
            "'../evil.py' lies outside the archive's folder",
        ),
    ],
)
def test_a_bad_archive_is_one_line(container, start, module, extra, expected):
    put_code(container.root / "processing" / "input" / "code", "training.tabular.validate", extra)
    result = start("step", "--module", module)
    assert result.returncode == 1
    assert expected in message(container)
    assert len(result.stderr.splitlines()) == 1
