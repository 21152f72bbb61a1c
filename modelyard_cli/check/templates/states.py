"""State machines and their states, as rules read them.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.templates.model import Resource, Template, objects

MACHINE = "AWS::StepFunctions::StateMachine"


def machines(template: Template) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """(resource, definition) of every state machine whose definition is in the template."""
    for machine in template.of(MACHINE):
        found = definition_of(machine)
        if isinstance(found, dict):
            yield machine, found


def definition_of(machine: Resource) -> Any:
    """A state machine's definition; a text where it is no JSON, None where it is elsewhere."""
    text = machine.properties.get("DefinitionString")
    if not isinstance(text, str):
        return machine.properties.get("Definition")
    given = machine.properties.get("DefinitionSubstitutions") or {}
    for name, value in given.items():
        text = text.replace("${" + name + "}", str(value))
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def scopes(definition: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, scope) of the machine and of every branch and iteration in it."""
    yield path, definition
    states = definition.get("States")
    for name, state in states.items() if isinstance(states, dict) else ():
        if not isinstance(state, dict):
            continue
        inner = [
            *objects(state.get("Branches")),
            *(state[m] for m in ("Iterator", "ItemProcessor") if isinstance(state.get(m), dict)),
        ]
        for index, scope in enumerate(inner):
            yield from scopes(scope, f"{path}.{name}[{index}]")


def states_of(definition: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """(path, name, state, scope)."""
    for path, scope in scopes(definition):
        states = scope.get("States")
        for name, state in states.items() if isinstance(states, dict) else ():
            if isinstance(state, dict):
                yield f"{path}.{name}".lstrip("."), name, state, scope


def successors(state: dict[str, Any]) -> Iterator[str]:
    for item in [state, *objects(state.get("Choices")), *objects(state.get("Catch"))]:
        for member in ("Next", "Default"):
            if isinstance(item.get(member), str):
                yield item[member]
