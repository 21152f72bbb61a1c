"""A pipeline definition as the rules see it: every step with its place, whatever state it is in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from localcloud.sagemaker.pipelines.expressions import (
    ExpressionError,
    Reference,
    functions,
    is_expression,
    parse_reference,
)

if TYPE_CHECKING:
    from modelyard_cli.check.templates.model import Resource

PLACEHOLDER = re.compile(r"\$\{[A-Za-z][A-Za-z0-9]*\}")
# What else stands there are steps, and what only they and the step's end can refer to.
_OWN_ARGUMENTS = {"Condition": {"Conditions"}, "ForEach": {"IterableItems", "MaxConcurrency"}}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One step; `branch` is the (condition, outcome) that leads to it, None at the top."""

    name: str
    type: str
    body: Mapping[str, Any]
    branch: tuple[str, bool] | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Its arguments without the steps nested in them."""
        given = self.body.get("Arguments")
        if not isinstance(given, dict):
            return {}
        own = _OWN_ARGUMENTS.get(self.type)
        return {k: v for k, v in given.items() if own is None or k in own}

    @property
    def depends_on(self) -> list[str]:
        """Steps that it names in DependsOn."""
        found = self.body.get("DependsOn") or []
        return [
            str(item.get("Step", item.get("StepName", "")) if isinstance(item, dict) else item)
            for item in (found if isinstance(found, list) else [])
        ]

    @property
    def cached(self) -> bool:
        """Whether its cache is on."""
        config = self.body.get("CacheConfig")
        return isinstance(config, dict) and config.get("Enabled") is True

    def at(self, path: str = "") -> str:
        """A place in this step: `at("Arguments.RoleArn")`."""
        return f"{self.name}/{path}" if path else self.name

    def references(self) -> Iterator[Reference]:
        """Every readable reference in its arguments and options."""
        options = {k: v for k, v in self.body.items() if k not in ("Arguments", "Name", "Type")}
        for function, argument in functions([dict(self.arguments), options]):
            if function == "Get":
                try:
                    yield parse_reference(argument)
                except ExpressionError:
                    continue


@dataclass(kw_only=True, eq=False)
class Definition:
    """A definition; `pipeline` is the resource that deploys it, where it comes from a template; `text` is
    what the service gets, where it is sent as it stands."""

    name: str
    document: dict[str, Any]
    steps: list[Step]
    file: str = ""
    pipeline: Resource | None = None
    text: str = ""

    @cached_property
    def by_name(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        given = self.document.get("Parameters")
        items = given if isinstance(given, list) else []
        return {str(item.get("Name")): item for item in items if isinstance(item, dict)}

    def of(self, *types: str) -> Iterator[Step]:
        """Steps of these types."""
        return (step for step in self.steps if step.type in types)

    def branches_above(self, step: Step) -> set[tuple[str, bool]]:
        """The branches that a step lies in: each a Condition step and its outcome."""
        found: set[tuple[str, bool]] = set()
        branch = step.branch
        while branch is not None and branch not in found:
            found.add(branch)
            outer = self.by_name.get(branch[0])
            branch = outer.branch if outer else None
        return found

    def value(self, value: Any) -> Any:
        """A value with parameters replaced by their defaults; None where there is none to tell."""
        if not is_expression(value):
            return value
        try:
            reference = parse_reference(value.get("Get"))
        except ExpressionError:
            return None
        if reference.root != "Parameters":
            return None
        return self.default(reference.name)

    def default(self, parameter: str) -> Any:
        """A parameter's default, as the template that deploys the pipeline sets it."""
        if self.pipeline is not None:
            given = self.pipeline.properties.get("ParameterDefaults")
            if isinstance(given, dict) and parameter in given:
                return given[parameter]
        return self.parameters.get(parameter, {}).get("DefaultValue")

    def choices(self, value: Any) -> list[Any]:
        """Every value that something may take, as far as the definition tells: a default, an enum."""
        found = [self.value(value)]
        if is_expression(value):
            try:
                reference = parse_reference(value.get("Get"))
            except ExpressionError:
                return []
            if reference.root == "Parameters":
                found += self.parameters.get(reference.name, {}).get("EnumValues") or []
        return [item for item in found if item is not None]


def definition_of(
    name: str,
    document: dict[str, Any],
    *,
    file: str = "",
    pipeline: Resource | None = None,
    text: str = "",
) -> Definition:
    """Read a definition; what is not of the right form is left to the rules."""
    steps = list(_steps(document.get("Steps"), None))
    return Definition(name=name, document=document, steps=steps, file=file, pipeline=pipeline, text=text)


def _steps(items: Any, branch: tuple[str, bool] | None, depth: int = 0) -> Iterator[Step]:
    for number, item in enumerate(items if isinstance(items, list) else []):
        if not isinstance(item, dict):
            continue
        name = item.get("Name")
        step = Step(
            name=name if isinstance(name, str) else f"#{number}",
            type=str(item.get("Type")),
            body=item,
            branch=branch,
        )
        yield step
        given = item.get("Arguments")
        if step.type == "Condition" and isinstance(given, dict) and depth < 50:
            yield from _steps(given.get("IfSteps"), (step.name, True), depth + 1)
            yield from _steps(given.get("ElseSteps"), (step.name, False), depth + 1)


def literal(value: Any) -> bool:
    """Whether a text is written out: no expression, no placeholder."""
    return isinstance(value, str) and not PLACEHOLDER.search(value)


def walk(value: Any, path: str = "Arguments") -> Iterator[tuple[str, Any]]:
    """(path, value) of every value inside, expressions not entered."""
    yield path, value
    if is_expression(value):
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from walk(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]")
