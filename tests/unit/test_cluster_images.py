"""What the images of cluster and workers are made of is what their commands import."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from modelyard.build_context import BuildContext
from pipeline_defs.code import REPO, code_files
from training.vision.elastic.tracking import PACKAGES

TRAINING = REPO / "training"
COMMANDS = {
    "preprocessing.Dockerfile": ("training.preprocessing.worker", "training.preprocessing.manifest"),
    "cluster.Dockerfile": (
        "training.preprocessing.manifest",
        "training.vision.train",
        "training.vision.launch",
        "training.vision.rendezvous",
    ),
    "rendezvous.Dockerfile": ("training.rendezvous",),
}


def _requirements(name: str) -> dict[str, str]:
    lines = (TRAINING / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("dockerfile", COMMANDS)
def test_all_that_is_imported_is_copied(dockerfile: str) -> None:
    copied = {f"training/{file}" for file in BuildContext(folder=TRAINING, dockerfile=dockerfile).files()}
    needed = {file for module in COMMANDS[dockerfile] for file in code_files(module)}
    assert sorted(needed - copied) == []


def test_the_rendezvous_carries_nothing_that_it_does_not_import() -> None:
    """A new image of it ends the attempts of all jobs: a change of the trainer must not make one."""
    copied = BuildContext(folder=TRAINING, dockerfile="rendezvous.Dockerfile").files()
    code = {f"training/{file}" for file in copied if file.endswith(".py")}
    assert code == set(code_files("training.rendezvous"))
    assert not [file for file in code if "vision" in file or "preprocessing" in file]


def test_hosts_and_rendezvous_speak_with_the_same_pytorch() -> None:
    ours, trainer = _requirements("requirements-rendezvous.txt"), _requirements("requirements-vision.txt")
    assert {name: trainer[name] for name in ours} == ours
    assert "torch" in ours


def test_workers_carry_no_more_of_the_trainer_than_they_import() -> None:
    """Or a change of the trainer would replace them."""
    copied = BuildContext(folder=TRAINING, dockerfile="preprocessing.Dockerfile").files()
    needed = {file for module in COMMANDS["preprocessing.Dockerfile"] for file in code_files(module)}
    of_trainer = {f"training/{file}" for file in copied if file.startswith("vision/")}
    assert of_trainer == {file for file in needed if file.startswith("training/vision/")}


def test_the_same_packages_decode_everywhere() -> None:
    ours, vision = _requirements("requirements-preprocessing.txt"), _requirements("requirements-vision.txt")
    assert {name: vision[name] for name in ours.keys() & vision.keys()} == {
        name: ours[name] for name in ours.keys() & vision.keys()
    }
    assert {"pillow", "numpy"} <= ours.keys() & vision.keys()


def test_what_tracks_is_complete_of_one_version_everywhere_and_in_no_other_image() -> None:
    tracking, vision = _requirements("requirements-tracking.txt"), _requirements("requirements-vision.txt")
    assert not tracking.keys() & vision.keys()
    held = {_spelled(name) for name in tracking.keys() | vision.keys()}
    there = {_spelled(one.name): one for one in metadata.distributions(path=[str(PACKAGES)])}
    assert {name: one.version for name, one in there.items()} == {
        _spelled(name): version for name, version in tracking.items()
    }
    for name, one in there.items():
        for requirement in one.requires or []:
            if "extra ==" in requirement or "platform" in requirement or "python_version" in requirement:
                continue
            needed = re.match(r"[\w.-]+", requirement)
            assert needed is not None
            assert _spelled(needed[0]) in held, f"{name} needs {needed[0]}, and pip runs with --no-deps"
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["wandb"] == [f"wandb=={tracking['wandb']}"]
    images = TRAINING.glob("*Dockerfile")
    with_it = {image.name for image in images if "requirements-tracking.txt" in image.read_text("utf-8")}
    assert with_it == {"cluster.Dockerfile"}
    # Where each program would load it that loads timm.
    assert find_spec("wandb") is None


def _spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_workers_import_what_their_image_holds() -> None:
    files = {file for module in COMMANDS["preprocessing.Dockerfile"] for file in code_files(module)}
    imported = {
        name
        for file in files
        for name in re.findall(
            r"^\s*(?:import|from) (PIL|numpy|boto3|botocore|torch|timm|torchvision)\b",
            (REPO / Path(file)).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
    held = _requirements("requirements-preprocessing.txt").keys()
    assert imported <= {{"pillow": "PIL"}.get(name, name) for name in held}
