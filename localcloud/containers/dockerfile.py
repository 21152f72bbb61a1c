"""Dockerfiles as the process engine reads them.

The subset that describes what a container runs and where its files lie: FROM, ARG, ENV, LABEL, WORKDIR, COPY,
RUN, USER, EXPOSE, ENTRYPOINT, CMD. RUN and USER are not carried out but listed as assumptions about the
environment that the local cloud runs in. Anything else is refused with its line, because ignoring it would
run something other than what was written.

Reference: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SUPPORTED = "ARG, CMD, COPY, ENTRYPOINT, ENV, EXPOSE, FROM, LABEL, MAINTAINER, RUN, USER, WORKDIR"
_VARIABLE = re.compile(r"\\(\$)|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)\s*$")


class DockerfileError(ValueError):
    """A Dockerfile that cannot be read or asks for what a process cannot give."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Dockerfile line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its first line (from 1), its name, its `--flags`, and the text after them."""

    line: int
    name: str
    flags: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files of the build context (`sources`, patterns) that go to `destination` (absolute)."""

    line: int
    sources: tuple[str, ...]
    destination: str
    is_folder: bool
    mode: int | None = None


@dataclass(slots=True)
class Recipe:
    """What a Dockerfile says about an image. `assumed` lists what is taken from the running environment."""

    base: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    folders: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    user: str = ""
    assumed: list[str] = field(default_factory=list)


def parse(text: str) -> list[Instruction]:
    """Split a Dockerfile into instructions: comments, continuation lines, the `escape` directive, flags."""
    escape, directives = "\\", True
    parsed: list[Instruction] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if directives and (found := _DIRECTIVE.match(line)):
            if found[1].lower() == "escape":
                escape = found[2]
            continue
        directives = False
        if not line or line.startswith("#"):
            continue
        start = start or number
        if line.endswith(escape):
            pending += line[: -len(escape)].rstrip() + " "
            continue
        parsed.append(_instruction(start, pending + line))
        pending, start = "", 0
    if pending:
        parsed.append(_instruction(start, pending))
    return parsed


def _instruction(number: int, line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    name, rest = name.upper(), rest.strip()
    if name not in SUPPORTED.split(", "):
        raise DockerfileError(number, f"{name} is not supported here; supported: {SUPPORTED}")
    flags: dict[str, str] = {}
    while name in {"FROM", "COPY", "RUN"} and rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        key, _, value = flag[2:].partition("=")
        flags[key], rest = value, rest.strip()
    if not rest:
        raise DockerfileError(number, f"{name} needs an argument")
    if name in {"RUN", "COPY"} and re.search(r"<<-?['\"]?\w", rest):
        raise DockerfileError(number, "here-documents are not supported; put the text into a file")
    return Instruction(number, name, flags, rest)


def evaluate(instructions: Sequence[Instruction], build_args: Mapping[str, str] | None = None) -> Recipe:
    """Carry out the instructions on paper.

    Args:
        instructions: from `parse`.
        build_args: values of `--build-arg`; they replace the defaults of the ARGs of that name.

    Raises:
        DockerfileError: with the line and what to do.
    """
    recipe = Recipe()
    given, arguments = dict(build_args or {}), dict[str, str]()
    for item in instructions:
        if not recipe.base and item.name not in {"FROM", "ARG"}:
            raise DockerfileError(item.line, f"{item.name} before FROM")
        known = {"PATH": DEFAULT_PATH, **arguments, **recipe.environment}
        if item.name == "ARG":
            for word in _words(item):
                name, has_default, default = word.partition("=")
                if name in given or has_default:
                    arguments[name] = given.get(name, expand(default, known))
        elif item.name == "RUN":
            recipe.assumed.append(f"RUN {item.text}")
        elif item.name in {"ENTRYPOINT", "CMD"}:
            form = _exec_form(item)
            target = "entrypoint" if item.name == "ENTRYPOINT" else "command"
            setattr(recipe, target, form if form is not None else ["/bin/sh", "-c", item.text])
        elif item.name != "MAINTAINER":
            _apply(recipe, item, known)
    if not recipe.base:
        raise DockerfileError(1, "there is no FROM")
    if recipe.entrypoint[:2] == ["/bin/sh", "-c"]:
        recipe.command = []  # Docker: a shell-form ENTRYPOINT takes no CMD and no arguments.
    return recipe


def _apply(recipe: Recipe, item: Instruction, known: Mapping[str, str]) -> None:
    match item.name:
        case "FROM":
            if recipe.base:
                raise DockerfileError(item.line, "several stages are not supported; keep one FROM")
            recipe.base = expand(item.text.split()[0], known)
        case "ENV":
            recipe.environment.update(_pairs(item, known))
        case "LABEL":
            recipe.labels.update(_pairs(item, known))
        case "WORKDIR":
            recipe.workdir = _absolute(expand(item.text, known), recipe.workdir)
            recipe.folders.append(recipe.workdir)
        case "USER":
            recipe.user = expand(item.text, known)
            recipe.assumed.append(f"USER {recipe.user}")
        case "EXPOSE":
            recipe.ports.extend(expand(item.text, known).split())
        case "COPY":
            recipe.copies.append(_copy(item, known, recipe.workdir))


def _copy(item: Instruction, known: Mapping[str, str], workdir: str) -> Copy:
    if "from" in item.flags:
        raise DockerfileError(item.line, "COPY --from is not supported; copy from the build context")
    if unknown := sorted(item.flags.keys() - {"chown", "chmod", "link"}):
        raise DockerfileError(item.line, f"COPY --{unknown[0]} is not supported")
    words = _exec_form(item) or _words(item)
    if len(words) < 2:
        raise DockerfileError(item.line, "COPY needs a source and a destination")
    *sources, destination = (expand(word, known) for word in words)
    is_folder = len(sources) > 1 or destination.endswith(("/", "/.")) or destination == "."
    mode = item.flags.get("chmod")
    try:
        bits = int(mode, 8) if mode else None
    except ValueError as error:
        raise DockerfileError(item.line, f"--chmod={mode} is not an octal mode such as 755") from error
    return Copy(item.line, tuple(sources), _absolute(destination, workdir), is_folder, bits)


def _absolute(path: str, workdir: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(workdir) / path).parts:
        if part == "..":
            del parts[-1:]
        elif part != "/":
            parts.append(part)
    return "/" + "/".join(parts)


def _exec_form(item: Instruction) -> list[str] | None:
    if not item.text.startswith("["):
        return None
    try:
        words = json.loads(item.text)
    except ValueError:
        return None  # Docker takes what is not JSON as the shell form.
    if not all(isinstance(word, str) for word in words):
        raise DockerfileError(item.line, f"{item.name}: the JSON form holds strings only")
    return list(words)


def _words(item: Instruction) -> list[str]:
    try:
        # Backslash-dollar must reach expand() as it is.
        return shlex.split(item.text.replace("\\$", "\\\\$"))
    except ValueError as error:
        raise DockerfileError(item.line, f"{item.name}: {error}".lower()) from error


def _pairs(item: Instruction, known: Mapping[str, str]) -> dict[str, str]:
    words = _words(item)
    if "=" not in words[0]:  # the old form: ENV NAME the rest of the line
        name, _, value = item.text.partition(" ")
        return {name: expand(value.strip(), known)}
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise DockerfileError(item.line, f"{item.name}: '{word}' is not NAME=value")
        pairs[name] = expand(value, known)
    return pairs


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`; unknown names become empty."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        current = known.get(found[2] or found[3], "")
        if found[4] == "-":
            return current or found[5]
        if found[4] == "+":
            return found[5] if current else ""
        return current

    return _VARIABLE.sub(value, text)
