"""Set-up: which profile stands for which, in every order, and that a second run does nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).parents[2]
SAME_ENVIRONMENT = ("app", "local", "vision", "test")


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool in a checkout of its own; a set-up installs nothing and is written down in `done`."""
    for source in [*REPO.glob("requirements*.txt"), *REPO.glob("constraints*.txt")]:
        shutil.copy(source, tmp_path)
    images = ("training/requirements.txt", "training/requirements-tracking.txt")
    for name in ("pyproject.toml", "package-lock.json", *images, "tools/setup.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    spec = importlib.util.spec_from_file_location("setup_in_a_checkout", tmp_path / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    done: list[str] = []

    def install(profile: object) -> None:
        version = "python{}.{}".format(*sys.version_info[:2])
        (profile.venv / "lib" / version / "site-packages/pip").mkdir(parents=True, exist_ok=True)  # type: ignore[attr-defined]
        for file in (profile.python, module.CDK):  # type: ignore[attr-defined]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        done.append(profile.requirements)  # type: ignore[attr-defined]

    monkeypatch.setattr(module, "steps", lambda _: [("everything", install)])
    monkeypatch.setattr(module, "done", done, raising=False)
    return module


def run(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, *profiles: str) -> list[str]:
    """Set the profiles up one after the other; the requirements files that were installed."""
    del setup.done[:]
    for name in profiles:
        monkeypatch.setattr(sys, "argv", ["setup.py", name])
        assert setup.main() == 0
    return list(setup.done)


def file_of(profile: str) -> str:
    return "requirements.txt" if profile == "app" else f"requirements-{profile}.txt"


@pytest.mark.parametrize("order", list(itertools.permutations(SAME_ENVIRONMENT)), ids="-".join)
def test_only_what_nothing_richer_brought_is_installed(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    expected, richest = [], -1
    for name in order:
        rank = SAME_ENVIRONMENT.index(name)
        if rank > richest:
            expected.append(file_of(name))
            richest = rank
    assert run(setup, monkeypatch, *order) == expected
    assert run(setup, monkeypatch, *order) == []


def test_a_changed_file_is_installed_again_where_it_counts(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(setup, monkeypatch, "local", "vision") == [file_of("local"), file_of("vision")]
    (tmp_path / "requirements-vision.txt").write_text("torch==0\n")
    assert run(setup, monkeypatch, "local") == []
    assert run(setup, monkeypatch, "vision", "vision") == [file_of("vision")]


def test_a_stamp_of_other_files_does_not_come_back(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Old versions over new ones: the richer profile was replaced in part, and must be installed again."""
    constraints = tmp_path / "constraints.txt"
    new = constraints.read_text()
    run(setup, monkeypatch, "test")
    constraints.write_text("boto3==1\n")
    assert run(setup, monkeypatch, "local") == [file_of("local")]
    constraints.write_text(new)
    assert run(setup, monkeypatch, "test") == [file_of("test")]


def test_what_contains_what_is_what_the_requirements_say() -> None:
    """`test` brings `vision`, that `local`, that `app`; PyTorch comes with `vision` alone."""
    for poorer, richer in itertools.pairwise(SAME_ENVIRONMENT):
        lines = (REPO / file_of(richer)).read_text().splitlines()
        assert f"-r {file_of(poorer)}" in lines, richer
    assert "torch" not in (REPO / file_of("local")).read_text()


def test_everything_installed_is_pinned() -> None:
    """What no constraint names is, on the next fresh machine, whatever is newest by then."""
    pins = dict(
        re.findall(
            r"^([\w.-]+)==([^\s;]+)", (REPO / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    pinned = {_canonical(name): version for name, version in pins.items()}
    own = {"modelyard", "pip", "wheel"}
    # Less what says for which machine it was built: `2.13.0+cpu`.
    found = {
        _canonical(each.name): each.version.partition("+")[0] for each in importlib.metadata.distributions()
    }
    assert {
        name: version for name, version in found.items() if name not in own and pinned.get(name) != version
    } == {}
    backend = re.search(
        r'requires = \["setuptools==(.+?)"\]', (REPO / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert backend is not None
    assert backend[1] == pinned["setuptools"]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
