"""What must hold before SageMaker is asked, which would notice some of it late and some only in a run."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from .errors import PipelineError

VERSION = "2020-12-01"
_TYPES = ("String", "Integer", "Float", "Boolean")
_STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE = re.compile(r"(Parameters|Steps)\.([A-Za-z0-9_-]+)")
# Members that hold steps of their own: both arms of a condition, and the body of a loop.
_NESTED = ("IfSteps", "ElseSteps", "Steps")


class Step(NamedTuple):
    """A step with the one that holds it."""

    body: dict[str, Any]
    name: str
    parent: str | None


def check(definition: dict[str, Any]) -> None:
    """Raises PipelineError for the first thing wrong, naming the step or parameter."""
    if definition.get("Version") != VERSION:
        raise PipelineError(f"Version is {definition.get('Version')!r}; this resource writes {VERSION!r}")
    parameters = _parameters(definition)
    steps = list(_steps(definition.get("Steps"), None))
    names = {step.name for step in steps}
    if not steps:
        raise PipelineError("the definition has no steps")
    if len(names) != len(steps):
        every = [step.name for step in steps]
        raise PipelineError(f"two steps are called {next(n for n in every if every.count(n) > 1)!r}")
    used: set[str] = set()
    needs: dict[str, set[str]] = {}
    for step in steps:
        references = _references(step)
        for name in sorted(references["Parameters"] - parameters):
            raise PipelineError(f"step {step.name!r} uses parameter {name!r}, which is not declared")
        for name in sorted(references["Steps"] - names):
            raise PipelineError(f"step {step.name!r} refers to step {name!r}, which does not exist")
        used |= references["Parameters"]
        needs[step.name] = references["Steps"] | ({step.parent} if step.parent else set())
    unused = sorted(parameters - used)
    if unused:
        raise PipelineError(f"no step uses parameter {', '.join(unused)}; use it or remove it")
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise PipelineError(f"steps wait for each other: {' -> '.join(error.args[1])}") from error


def _parameters(definition: dict[str, Any]) -> set[str]:
    names: list[str] = []
    for position, parameter in enumerate(_objects(definition.get("Parameters", []), "Parameters")):
        name = parameter.get("Name")
        if not isinstance(name, str):
            raise PipelineError(f"Parameters[{position}] has no Name")
        if parameter.get("Type") not in _TYPES:
            raise PipelineError(
                f"parameter {name!r} has type {parameter.get('Type')!r}; known: {', '.join(_TYPES)}"
            )
        if name in names:
            raise PipelineError(f"two parameters are called {name!r}")
        names.append(name)
    return set(names)


def _steps(found: Any, parent: str | None) -> Iterator[Step]:
    place = f"steps of {parent!r}" if parent else "Steps"
    for position, body in enumerate(_objects(found, place)):
        name = body.get("Name")
        if not isinstance(name, str) or not _STEP_NAME.fullmatch(name):
            raise PipelineError(f"{place}[{position}]: Name {name!r} is not 1 to 64 letters, digits, - and _")
        if not isinstance(body.get("Type"), str):
            raise PipelineError(f"step {name!r} has no Type")
        yield Step(body, name, parent)
        arguments = body.get("Arguments")
        if isinstance(arguments, dict):
            for member in _NESTED:
                if isinstance(arguments.get(member), list):
                    yield from _steps(arguments[member], name)


def _objects(found: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise PipelineError(f"{place} is not a list of objects")
    return found


def _references(step: Step) -> dict[str, set[str]]:
    """Names that the step itself refers to; steps inside it speak for themselves."""
    found: dict[str, set[str]] = {"Parameters": set(), "Steps": set()}

    own = {**step.body}
    if isinstance(own.get("Arguments"), dict):
        own["Arguments"] = {key: value for key, value in own["Arguments"].items() if key not in _NESTED}
    pending: list[Any] = [own]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            # Only {"Get": "..."} refers; the same words elsewhere are text.
            get = value.get("Get")
            if isinstance(get, str) and (match := _REFERENCE.match(get)):
                found[match[1]].add(match[2])
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    waits = step.body.get("DependsOn", [])
    for entry in waits if isinstance(waits, list) else [waits]:
        name = entry.get("Step") if isinstance(entry, dict) else entry
        if not isinstance(name, str):
            raise PipelineError(f"step {step.name!r}: DependsOn holds {name!r}, which is no step's name")
        found["Steps"].add(name)
    return found
