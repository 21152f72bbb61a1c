"""Reading the steps of a definition, nested ones included."""

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.pipelines.conditions import CONDITION_MEMBERS
from localcloud.sagemaker.pipelines.expressions import is_expression
from localcloud.sagemaker.pipelines.model import Branch, Step
from localcloud.sagemaker.pipelines.output_parameters import parse_outputs
from localcloud.sagemaker.pipelines.problems import Problems
from localcloud.sagemaker.pipelines.step_options import parse_cache, parse_property_files, parse_retries
from localcloud.sagemaker.pipelines.step_types import COMMON_MEMBERS, STEP_TYPES, TARGETS

_TARGET_PATTERNS = {
    "Callback": r"https?://\S+",
    "Lambda": r"arn:aws[a-z\-]*:lambda:[a-z0-9\-]+:\d{12}:function:[A-Za-z0-9\-_]+(:[A-Za-z0-9$\-_]+)?",
}
# Types that the SDK writes and that cannot even be read here, and what to do instead.
NOT_HERE = {"ForEach": "write one step per item, or run this pipeline on AWS"}
_NAME = r"[A-Za-z0-9\-_]{1,64}"


def parse_steps(document: Mapping[str, Any], problems: Problems) -> dict[str, Step]:
    """All steps by name, in the order of the text; what is wrong goes to `problems`."""
    steps: dict[str, Step] = {}
    _parse_items(problems.objects("The definition", document, "Steps"), None, steps, problems)
    return steps


def _parse_items(
    items: list[dict[str, Any]], branch: Branch | None, steps: dict[str, Step], problems: Problems
) -> None:
    for number, item in enumerate(items, 1):
        name = problems.text(f"Step {item.get('Name', number)!r}", item, "Name", pattern=_NAME)
        if name is None:
            continue
        if name in steps:
            problems.add(f"Step {name!r}", "has a name that another step has too")
            continue
        step = _parse_step(name, item, branch, problems)
        if step is None:
            continue
        steps[name] = step
        if step.type == "Condition":
            for member, outcome in (("IfSteps", True), ("ElseSteps", False)):
                nested = problems.objects(f"Step {name!r}", item.get("Arguments", {}), member)
                _parse_items(nested, Branch(condition=name, outcome=outcome), steps, problems)


def _parse_step(name: str, item: dict[str, Any], branch: Branch | None, problems: Problems) -> Step | None:
    where = f"Step {name!r}"
    kind = item.get("Type")
    if isinstance(kind, str) and kind in NOT_HERE:
        problems.add(where, f"has the type {kind}, which the local cloud does not run; {NOT_HERE[kind]}")
        return None
    if not isinstance(kind, str) or kind not in STEP_TYPES:
        problems.add(where, f"has the unknown type {kind!r}; known: {', '.join(STEP_TYPES)}")
        return None
    problems.members(where, item, COMMON_MEMBERS | STEP_TYPES[kind].members)
    for member in ("DisplayName", "Description"):
        if not isinstance(item.get(member, ""), str):
            problems.add(where, f"{member} must be a text")
    arguments = item.get("Arguments", {})
    if not isinstance(arguments, dict):
        problems.add(where, "Arguments must be an object")
        return None
    if kind == "Condition":
        problems.members(where, arguments, ("Conditions", "IfSteps", "ElseSteps"))
        arguments = {"Conditions": problems.objects(where, arguments, "Conditions")}
        if not arguments["Conditions"]:
            problems.add(where, "Conditions must be a list with at least one condition")
        for condition in arguments["Conditions"]:
            _check_condition(where, condition, problems)
    elif kind == "Fail":
        problems.members(where, arguments, ("ErrorMessage",))
    target = None
    if kind in TARGETS:
        target = item.get(TARGETS[kind])
        if not is_expression(target):
            target = problems.text(where, item, TARGETS[kind], pattern=_TARGET_PATTERNS[kind])
    cached, age = parse_cache(where, item, problems)
    return Step(
        name=name,
        type=kind,
        arguments=arguments,
        depends_on=_parse_depends_on(where, item, problems),
        display_name=item.get("DisplayName"),
        description=item.get("Description"),
        cached=cached,
        cache_seconds=age,
        retries=parse_retries(where, item, problems),
        property_files=parse_property_files(where, item, problems),
        branch=branch,
        target=target,
        outputs=parse_outputs(where, item, problems) if kind in TARGETS else {},
    )


def _parse_depends_on(where: str, item: dict[str, Any], problems: Problems) -> tuple[str, ...]:
    names = item.get("DependsOn") or []
    if not isinstance(names, list):
        problems.add(where, "DependsOn must be a list of step names")
        return ()
    if any(isinstance(name, dict) for name in names):
        problems.add(
            where, "DependsOn with a Trigger is not supported by the local cloud; name the step alone"
        )
    if not all(isinstance(name, str | dict) for name in names):
        problems.add(where, "DependsOn must be a list of step names")
    return tuple(name for name in names if isinstance(name, str))


def _check_condition(where: str, condition: Any, problems: Problems) -> None:
    if not isinstance(condition, dict):
        problems.add(where, f"{condition!r} is no condition")
        return
    kind = condition.get("Type")
    needed = CONDITION_MEMBERS.get(kind) if isinstance(kind, str) else None
    if needed is None:
        problems.add(
            where,
            f"has a condition of the unknown type {kind!r}; known: {', '.join(CONDITION_MEMBERS)} "
            "(the conditions of a step are ANDed)",
        )
        return
    problems.members(where, condition, ("Type", *needed))
    missing = [member for member in needed if member not in condition]
    if missing:
        problems.add(where, f"its condition {kind} lacks {', '.join(missing)}")
    elif kind == "Not":
        _check_condition(where, condition["Condition"], problems)
    elif kind in ("Or", "In"):
        items = condition[needed[-1]]
        if not isinstance(items, list):
            problems.add(where, f"the {needed[-1]} of its condition {kind} must be a list")
        elif kind == "Or":
            for inner in items:
                _check_condition(where, inner, problems)
