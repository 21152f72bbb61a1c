"""The Dockerfiles: what they copy and run exists, and no step's code is among it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline_defs import catalog
from pipeline_defs.catalog import PIPELINES
from pipeline_defs.code import code_files

CONTEXT = Path(__file__).parents[3] / "training"
CUDA = ("cuda-", "nvidia-", "triton")
LEFT_OUT = {"huggingface-hub"}


@dataclass(frozen=True)
class Image:
    """A Dockerfile of the context and its requirements."""

    dockerfile: str
    requirements: str

    @property
    def text(self) -> str:
        return re.sub(r"\\\n\s*", "", (CONTEXT / self.dockerfile).read_text())

    def arguments(self, instruction: str) -> list[str]:
        lines = [line for line in self.text.splitlines() if line and not line.startswith("#")]
        return [
            line.removeprefix(instruction).strip() for line in lines if line.startswith(instruction + " ")
        ]

    def copied(self) -> dict[str, str]:
        return dict(line.split() for line in self.arguments("COPY"))

    def pins(self) -> dict[str, str]:
        lines = (CONTEXT / self.requirements).read_text().splitlines()
        return dict(line.split("==") for line in lines if line and line[0] != "#")


TABULAR = Image("Dockerfile", "requirements.txt")
VISION = Image("vision.Dockerfile", "requirements-vision.txt")
SERVING = Image("serving.Dockerfile", "requirements-serving.txt")
IMAGES = [TABULAR, VISION, SERVING]


@pytest.fixture(params=IMAGES, ids=["tabular", "vision", "serving"])
def image(request):
    return request.param


def test_every_dockerfile_is_looked_at_here():
    # Those of the cluster and its workers: test_cluster_images.
    cluster = {"cluster.Dockerfile", "preprocessing.Dockerfile", "rendezvous.Dockerfile"}
    jobs = {image.dockerfile for image in IMAGES}
    assert {path.name for path in CONTEXT.glob("*Dockerfile")} == jobs | cluster
    assert sorted(catalog.IMAGES.values()) == sorted(image.dockerfile for image in IMAGES)


def test_what_is_copied_exists(image):
    for source in image.copied():
        assert (CONTEXT / source).exists(), source


def test_no_step_is_in_the_image(image):
    for spec in PIPELINES:
        for module in spec.code.values():
            assert module.split(".")[1] not in image.copied()


def test_the_image_holds_all_that_its_entry_points_import(image):
    """The entry points and the server, with what they import, and nothing that only a step has."""
    needed = {*code_files("training.container.__main__"), *code_files("training.serving.server")}
    for name in needed:
        assert Path(name).relative_to("training").parts[0] in image.copied(), name


def test_code_lies_where_python_finds_it(image):
    (environment,) = image.arguments("ENV")
    root = dict(item.split("=") for item in environment.split())["PYTHONPATH"]
    for source, target in image.copied().items():
        if source != image.requirements:
            assert target == f"{root}/training/{source}"
    assert image.arguments("WORKDIR") == [root]


def test_the_entry_point_is_a_module_that_exists(image):
    assert image.arguments("ENTRYPOINT") == ['["python", "-m", "training.container"]']
    assert (CONTEXT / "container" / "__main__.py").is_file()


def test_what_it_runs_exists(image):
    runs = " ".join(image.arguments("RUN"))
    modules = set(re.findall(r"training(?:\.\w+)+", runs))
    assert modules
    for module in modules:
        assert CONTEXT.parent.joinpath(*module.split(".")).with_suffix(".py").is_file(), module
    assert f"-r /opt/program/{image.requirements}" in runs


def test_waiting_threads_do_not_spin(image):
    (environment,) = image.arguments("ENV")
    assert "OMP_WAIT_POLICY=passive" in environment.split()


def test_sagemakers_capabilities_are_declared(image):
    labels = dict(re.findall(r'com\.amazonaws\.sagemaker\.capabilities\.([a-z-]+)="(\w+)"', image.text))
    assert labels == {"multi-models": "true", "accept-bind-to-port": "true"}


def test_the_base_is_pinned_and_slim(image):
    (base,) = image.arguments("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_all_images_start_from_the_same_base():
    assert TABULAR.arguments("FROM") == VISION.arguments("FROM") == SERVING.arguments("FROM")


def test_requirements_are_pinned_complete_and_what_is_tested_here(image):
    pins = image.pins()
    for name, version in pins.items():
        if name.startswith(CUDA):
            continue  # comes with torch's build for GPUs only
        assert importlib.metadata.version(name).partition("+")[0] == version, name
        for requirement in importlib.metadata.requires(name) or []:
            if "extra ==" in requirement or "platform" in requirement or "python_version" in requirement:
                continue
            needed = re.match(r"[\w.-]+", requirement)
            assert needed is not None
            assert spelled(needed[0]) in set(map(spelled, pins)) | LEFT_OUT, (
                f"{name} needs {needed[0]}, and pip runs with --no-deps"
            )


def spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(("one", "other"), [(TABULAR, VISION), (TABULAR, SERVING), (VISION, SERVING)])
def test_what_two_images_hold_is_the_same_there(one, other):
    pins, others = one.pins(), other.pins()
    shared = pins.keys() & others.keys()
    assert {name: pins[name] for name in shared} == {name: others[name] for name in shared}


def test_the_endpoint_has_what_models_are_trained_with_and_no_cuda():
    pins, trained_with = SERVING.pins(), {**TABULAR.pins(), **VISION.pins()}
    assert pins.keys() <= trained_with.keys()
    assert {"xgboost-cpu", "lightgbm", "torch", "timm"} <= pins.keys()
    assert not [name for name in pins if name.startswith(CUDA)]
    (install,) = [line for line in SERVING.arguments("RUN") if "pip install" in line]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in install


def test_timm_needs_no_hub():
    """The image has none: what timm would download, no job asks for."""
    script = (
        "import sys\n"
        "sys.modules['huggingface_hub'] = None\n"
        "from training.common.backbones import create\n"
        "print(type(create('test_resnet', 3, 'group')).__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=CONTEXT.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout == "ResNet\n"


@pytest.mark.parametrize("name", ["boto3", "sagemaker", "pandas", "aws_cdk"])
def test_nothing_heavy_or_foreign_is_imported(name):
    """Steps hear of AWS through folders; these modules ask it: for a queue of images, for the record of a
    job, and for checkpoints in S3."""
    importing = {
        path.relative_to(CONTEXT).as_posix()
        for path in CONTEXT.rglob("*.py")
        if re.search(rf"^\s*(import|from) {name}\b", path.read_text(), re.MULTILINE)
    }
    asking = {"preprocessing/aws.py", "vision/checkpoints/s3.py", "vision/job_record.py"}
    assert importing == (asking if name == "boto3" else set())


def test_no_step_imports_the_worker():
    """What lays out an elastic job does, to fetch a dataset. The trainer reads manifests, no more."""
    importing = [
        path.relative_to(CONTEXT).as_posix()
        for path in CONTEXT.rglob("*.py")
        if "training.preprocessing" in path.read_text()
    ]
    others = {name for name in importing if not name.startswith("preprocessing/")}
    assert others == {"vision/elastic/job.py", "vision/sources.py"}
    steps = {module for spec in PIPELINES for module in spec.code.values()}
    files = {name for step in steps for name in code_files(step)}
    assert "training/vision/elastic/job.py" not in files
    read = {"__init__", "documents", "ports", "recipe", "records"}
    found = {Path(name).stem for name in files if name.startswith("training/preprocessing/")}
    assert found == read


def test_the_server_is_imported_without_what_only_a_model_needs():
    """Start-up time: XGBoost (with SciPy, 0.4 s) and PyTorch are loaded beside the running server."""
    heavy = "{'xgboost', 'scipy', 'pandas', 'torch'}"
    script = f"import training.serving.server, sys; print({heavy} & sys.modules.keys())"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=CONTEXT.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
