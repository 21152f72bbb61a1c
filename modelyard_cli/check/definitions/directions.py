"""Gates that let the wrong models through.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-condition
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from localcloud.sagemaker.pipelines.expressions import ExpressionError, Reference, functions, parse_reference
from modelyard_cli.check.definitions.conditions import conditions
from modelyard_cli.check.definitions.metrics import better
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.registry import Hits, definition_rule

_GREATER, _LESS = ("GreaterThan", "GreaterThanOrEqualTo"), ("LessThan", "LessThanOrEqualTo")
_DELIVERS, _TRAINS = ("RegisterModel", "Endpoint"), ("Training", "Tuning")


@definition_rule(
    "MYP305",
    "A gate that lets the worse models through",
    "Errors must be at most the threshold, scores at least; or change the branches.",
)
def _direction(definition: Definition) -> Hits:
    for step in definition.of("Condition"):
        passes = _passing(definition, step) if _measures(step) else None
        for path, condition in conditions(step):
            metric, greater = _metric(condition)
            if metric is None or passes is None or _both_sides(step, metric):
                continue
            negated = (path.count(".Condition") - path.count(".Conditions")) % 2 == 1
            admitted = "large" if greater == (passes != negated) else "small"
            wanted = better(metric) or _chosen(definition, condition)
            if wanted and wanted != admitted:
                yield step.at(path), f"models pass when {metric} is {admitted}"


def _measures(step: Step) -> bool:
    return any(_metric(condition)[0] is not None for _, condition in conditions(step))


def _passing(definition: Definition, gate: Step) -> bool | None:
    """The outcome with which a model gets through a gate; None where both, or neither, tell.

    The branch that registers the judged model at once counts before one that trains another, or asks further.
    """
    distance: dict[bool, int] = {}
    for step in definition.of(*_DELIVERS):
        found = _distance(definition, step, gate)
        if found is not None:
            outcome, far = found
            distance[outcome] = min(far, distance.get(outcome, far))
    if distance:
        near = [outcome for outcome, far in distance.items() if far == min(distance.values())]
        return near[0] if len(near) == 1 else None
    fails = {outcome for outcome in (True, False) if (gate.name, outcome) in _branches(definition, "Fail")}
    return None if len(fails) != 1 else False in fails


def _distance(definition: Definition, step: Step, gate: Step) -> tuple[bool, int] | None:
    """(outcome of the gate, how far behind it) of a step; None where another gate, or none, decides."""
    far, branch = 0, step.branch
    while branch is not None and far <= 2 * len(definition.steps):
        if branch in _branches(definition, *_TRAINS):
            far += 1
        if branch[0] == gate.name:
            return branch[1], far
        outer = definition.by_name.get(branch[0])
        if outer is None or _measures(outer):
            return None
        far, branch = far + 1, outer.branch
    return None


def _branches(definition: Definition, *types: str) -> set[tuple[str, bool]]:
    return {step.branch for step in definition.of(*types) if step.branch is not None}


def _both_sides(step: Step, metric: str) -> bool:
    """Whether a metric is bounded from above and below, or by 0: a range, not a gate."""
    own = [(condition, *_metric(condition)) for _, condition in conditions(step)]
    mine = [(condition, greater) for condition, name, greater in own if name == metric]
    if any(0 in (condition.get("LeftValue"), condition.get("RightValue")) for condition, _ in mine):
        return True
    return len({greater for _, greater in mine}) > 1


def _metric(condition: dict[str, Any]) -> tuple[str | None, bool]:
    """The path of the metric that is compared, and whether the condition holds when it is large."""
    kind = condition.get("Type")
    if kind not in (*_GREATER, *_LESS):
        return None, False
    for side, larger in (("LeftValue", kind in _GREATER), ("RightValue", kind in _LESS)):
        value = condition.get(side)
        if isinstance(value, dict) and isinstance(value.get("Std:JsonGet"), dict):
            return str(value["Std:JsonGet"].get("Path", "")), larger
        if isinstance(value, dict) and "FinalMetricDataList" in str(value.get("Get", "")):
            return str(value["Get"]).partition("FinalMetricDataList")[2], larger
    return None, False


def _chosen(definition: Definition, condition: dict[str, Any]) -> Literal["large", "small", ""]:
    """What is better of a metric that a parameter chooses: told by its enum, where all of it agrees."""
    wanted: set[Literal["large", "small", ""]] = set()
    for reference in _references([condition.get("LeftValue"), condition.get("RightValue")]):
        writer = definition.by_name.get(reference.name) if reference.property_file is not None else None
        for used in writer.references() if writer else ():
            values = definition.parameters.get(used.name, {}).get("EnumValues")
            if used.root == "Parameters" and isinstance(values, list):
                directions = {better(str(value)) for value in values}
                wanted |= directions if directions != {""} else set()
    return wanted.pop() if len(wanted) == 1 else ""


def _references(value: Any) -> Iterator[Reference]:
    for function, argument in functions(value):
        try:
            if function == "Get":
                yield parse_reference(argument)
        except ExpressionError:
            continue
