"""Stands for pip inside AWS's public images: looks whether packages are there, installs none.

The container runs on the environment of the local cloud, which a job must not change.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__version__ = "0+modelyard"
_PREFIX = "[local cloud] pip:"
# Other names of what is here, and what an image always has.
_ALIASES = {"xgboost": ("xgboost", "xgboost-cpu"), "sklearn": ("scikit-learn",)}
_TOOLS = frozenset({"pip", "setuptools", "wheel"})
_OPTIONS_WITH_VALUE = """
    -i --index-url --extra-index-url --trusted-host -f --find-links --timeout --retries --progress-bar
    --root-user-action --cache-dir --platform --python-version --upgrade-strategy --proxy --cert
"""
_WITH_VALUE = frozenset(_OPTIONS_WITH_VALUE.split())


def main(arguments: Sequence[str] | None = None) -> int:
    """As `pip` on a command line. Returns its exit code: 0 if all that was asked for is here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if not word.startswith("-")), "")
    if "--version" in words or "-V" in words:
        _say("looks for packages, installs none")
        return 0
    if command in {"freeze", "list"}:
        for found in sorted(
            {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
        ):
            sys.stdout.write(found + "\n")
        return 0
    if command == "uninstall":
        _say("nothing is uninstalled")
        return 0
    if command != "install":
        _say(f"{command or 'no command'}: not supported; install, list, freeze and uninstall are")
        return 2
    try:
        wanted = list(_requirements(words[words.index("install") + 1 :]))
    except (OSError, ValueError) as error:
        _say(str(error))
        return 1
    return 0 if check(wanted) else 1


def check(requirements: Sequence[str]) -> bool:
    """Say of each requirement what is here; whether nothing is missing.

    Args:
        requirements: as in a requirements file, one each.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    missing = []
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            wanted = None
        if wanted is None or wanted.url:
            _say(f"{text} is a file or an address; only packages by name can be looked for")
            missing.append(text)
            continue
        if (wanted.marker and not wanted.marker.evaluate()) or wanted.name.lower() in _TOOLS:
            continue
        version = _installed(wanted.name)
        if version is None:
            missing.append(wanted.name)
        elif not wanted.specifier.contains(version, prereleases=True):
            _say(f"{wanted.name} {version} is used in place of {wanted.name}{wanted.specifier}")
        else:
            _say(f"{wanted.name} {version} is here")
    if missing:
        _say(
            f"nothing is installed for a job, and missing here: {', '.join(missing)}. Install it into the "
            "environment that runs the local cloud (pip install -c constraints.txt ...), start the job again"
        )
    return not missing


def read_file(path: Path) -> Iterator[str]:
    """The requirements of a file and of those that it names; options are left out."""
    text = re.sub(r"\\\n", " ", path.read_text())
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        option = re.match(r"(?:-r|--requirement)[\s=]*(.+)", line)
        if option:
            yield from read_file(path.parent / option[1].strip())
        elif line and not line.startswith("-"):
            yield re.sub(r"\s--\w.*$", "", line)
        elif line.startswith(("-e", "--editable")):
            yield line


def _requirements(words: Sequence[str]) -> Iterator[str]:
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if word in {"-r", "--requirement"}:
            yield from read_file(Path(next(remaining)))
        elif name == "--requirement" and equals:
            yield from read_file(Path(value))
        elif word.startswith("-r") and len(word) > 2:
            yield from read_file(Path(word[2:]))
        elif word in {"-c", "--constraint"} or word in _WITH_VALUE:
            next(remaining, None)
        elif word in {"-t", "--target", "--prefix", "-e", "--editable"}:
            raise ValueError(f"{word} installs files, which is not supported here")
        elif not word.startswith("-"):
            yield word


def _installed(name: str) -> str | None:
    for candidate in _ALIASES.get(name.lower(), (name,)):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _say(text: str) -> None:
    sys.stdout.write(f"{_PREFIX} {text}\n")
    sys.stdout.flush()
