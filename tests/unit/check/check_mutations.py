"""Changes of a template, and the list that faults go to: base, rule that must catch it, name, change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

BASES = Path(__file__).parent / "bases"
Mutation = Callable[[dict[str, Any]], None]
FAULTS: list[tuple[str, str, str, Mutation]] = []


# Correct documents beside the faults: base, name, change.
NEIGHBOURS: list[tuple[str, str, Mutation]] = []


def put(logical_id: str, path: str, value: Any) -> Mutation:
    """Set a property; `path` is dotted, numbers are indexes; None as value removes."""

    def mutate(document: dict[str, Any]) -> None:
        node: Any = document["Resources"][logical_id]["Properties"]
        *way, last = [int(p) if p.isdigit() else p for p in path.split("|")]
        for part in way:
            node = node[part]
        if value is None:
            del node[last]
        else:
            node[last] = value

    return mutate


def drop(logical_id: str) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        del document["Resources"][logical_id]

    return mutate


def add(logical_id: str, kind: str, properties: dict[str, Any]) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        document["Resources"][logical_id] = {"Type": kind, "Properties": properties}

    return mutate


def machine(change: Callable[[dict[str, Any]], None]) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        properties = document["Resources"]["Machine"]["Properties"]
        definition = json.loads(properties["DefinitionString"])
        change(definition["States"])
        properties["DefinitionString"] = json.dumps(definition)

    return mutate


def statement(role: str, index: int, **members: Any) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        statements = document["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        statements[index].update(members)

    return mutate


def without(role: str, index: int) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        del document["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][index]

    return mutate


def fault(base: str, rule: str, name: str, mutation: Mutation) -> None:
    FAULTS.append((base, rule, name, mutation))


def right(base: str, name: str, mutation: Mutation) -> None:
    NEIGHBOURS.append((base, name, mutation))
