"""The order of steps: branches, cycles and dependencies."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard_cli.check.definitions.model import Definition
from modelyard_cli.check.registry import Hits, definition_rule


@definition_rule(
    "MYP109",
    "A value of a step that may not have run",
    "Move the step that reads it into the same branch, or depend on what always runs.",
)
def _branches(definition: Definition) -> Hits:
    for step in definition.steps:
        needed = {r.name for r in step.references() if r.root == "Steps"} | set(step.depends_on)
        own = definition.branches_above(step)
        for name in sorted(needed):
            target = definition.by_name.get(name)
            if target is None or target is step:
                continue
            for condition, outcome in definition.branches_above(target):
                if (condition, not outcome) in own:
                    yield step.at(), f"needs {name}, which runs in the other branch of {condition}"
                elif (condition, outcome) not in own and step.name != condition:
                    yield step.at(), f"needs {name}, which runs only in one branch of {condition}"


@definition_rule(
    "MYP110",
    "Steps that wait for each other",
    "Remove one of the references or DependsOn entries of the circle.",
)
def _cycles(definition: Definition) -> Hits:
    needs = {
        step.name: {r.name for r in step.references() if r.root == "Steps"} | set(step.depends_on)
        for step in definition.steps
    }
    for step in definition.steps:
        if step.branch:
            needs[step.name].add(step.branch[0])
    done: set[str] = set()
    for root, before in needs.items():
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = [(root, iter(sorted(before)))]
        if root in done:
            continue
        path.append(root)
        while stack:
            following = next(stack[-1][1], None)
            if following is None:
                done.add(stack.pop()[0])
                path.pop()
            elif following in path:
                yield (
                    following,
                    "waits for itself: " + " -> ".join([*path[path.index(following) :], following]),
                )
            elif following in needs and following not in done:
                path.append(following)
                stack.append((following, iter(sorted(needs[following]))))


@definition_rule(
    "MYP111",
    "A dependency on a Fail step, or twice on one step",
    "A Fail step ends the execution: nothing comes after it.",
)
def _dependencies(definition: Definition) -> Hits:
    for step in definition.steps:
        for name in set(step.depends_on):
            target = definition.by_name.get(name)
            if target is not None and target.type == "Fail":
                yield step.at("DependsOn"), f"{name} is a Fail step"
            if step.depends_on.count(name) > 1:
                yield step.at("DependsOn"), f"names {name} more than once"
