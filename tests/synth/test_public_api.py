"""What others build on: frozen, so that a change of it is a decision."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import tarfile
from importlib import resources
from pathlib import Path

import constructs
import pytest

REPO = Path(__file__).parents[2]
PACKAGES = ("storage", "registry", "pipeline", "serving", "inference", "training")


def _surface(cls):
    """Constructor parameters and own public methods."""
    lines = [f"({', '.join(inspect.signature(cls).parameters)})"]
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, property | functools.cached_property):
            lines.append(name)
        elif inspect.isfunction(member):
            lines.append(f"{name}({', '.join(list(inspect.signature(member).parameters)[1:])})")
    return lines


def test_surface(snapshot):
    surface = {}
    for name in PACKAGES:
        package = importlib.import_module(f"modelyard.{name}")
        for public in package.__all__:
            surface[f"modelyard.{name}.{public}"] = _surface(getattr(package, public))
    assert surface == snapshot


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_documented(name):
    package = importlib.import_module(f"modelyard.{name}")
    for public in package.__all__:
        cls = getattr(package, public)
        assert cls.__doc__, public
        for member in vars(cls).values():
            if inspect.isfunction(member) and not member.__name__.startswith("_"):
                assert member.__doc__, f"{public}.{member.__name__}"


def test_the_folder_does_not_shadow_the_package():
    assert "site-packages" in Path(constructs.__file__).parts
    assert not (REPO / "constructs" / "__init__.py").exists()


def test_feature_flags_are_those_of_this_version():
    """cdk.json holds what `cdk init` of this library version would write, and two of ours."""
    archive = next(resources.files("aws_cdk._jsii").joinpath(".").glob("aws-cdk-lib@*.tgz"))
    with tarfile.open(archive) as package:
        recommended = package.extractfile("package/recommended-feature-flags.json")
        assert recommended is not None
        flags = json.load(recommended)
    chosen = {"@aws-cdk/core:defaultCrossStackReferences": "strong", "cdk-nag": True}
    assert json.loads((REPO / "cdk.json").read_text())["context"] == flags | chosen
