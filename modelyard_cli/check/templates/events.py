"""Rules of EventBridge: patterns that can never match, schedules, and targets that no event reaches.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates import event_shapes
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    listed,
    objects,
    opaque,
    part,
)

RULE = "AWS::Events::Rule"
_TOP = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail", "$or"}
_OPERATORS = {
    "prefix",
    "suffix",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
    "equals-ignore-case",
    "wildcard",
    "$or",
}
_FIELD = r"(\*|\?|[\w#,/*-]+)"


def patterns(template: Template) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for rule in template.of(RULE):
        pattern = rule.properties.get("EventPattern")
        if isinstance(pattern, str):
            try:
                pattern = json.loads(pattern)
            except json.JSONDecodeError:
                continue
        if isinstance(pattern, dict):
            yield rule, pattern


def texts(value: Any) -> list[str]:
    return [v for v in listed(value) if isinstance(v, str) and known(v)]


@template_rule(
    "MYT401",
    "An event pattern with a source or detail-type that no event has",
    "Write both as the service's page in the EventBridge reference does, letter by letter.",
)
def _sources(template: Template) -> Hits:
    for rule, pattern in patterns(template):
        sources, kinds = texts(pattern.get("source")), texts(pattern.get("detail-type"))
        for source in sources:
            if (
                source.startswith("aws.")
                and source not in event_shapes.DETAIL_TYPES
                and source.lower() in event_shapes.DETAIL_TYPES
            ):
                yield rule.at("EventPattern.source"), f"{source!r}: sources are lower-case"
            elif not source.startswith("aws.") and f"aws.{source}" in event_shapes.DETAIL_TYPES:
                yield rule.at("EventPattern.source"), f"{source!r} is no source: aws.{source} is meant"
            elif source.endswith(".amazonaws.com"):
                yield rule.at("EventPattern.source"), f"{source!r} is a service principal, not a source"
        known_kinds = [event_shapes.DETAIL_TYPES.get(s) for s in sources]
        for kind in kinds if known_kinds and all(k is not None for k in known_kinds) else ():
            if not any(kind in k for k in known_kinds if k):
                yield rule.at("EventPattern.detail-type"), f"{', '.join(sources)} sends no {kind!r}"
        for kind in kinds if not sources and "source" not in pattern else ():
            if kind not in {
                k for every in event_shapes.DETAIL_TYPES.values() for k in every
            } and kind.startswith(("SageMaker", "EC2 ", "ECS ", "Object ")):
                yield rule.at("EventPattern.detail-type"), f"no service sends {kind!r}"


@template_rule(
    "MYT402",
    "An event pattern on a member that the event does not have",
    "Use the members of the event's detail as its documentation shows them; case counts.",
)
def _members(template: Template) -> Hits:
    for rule, pattern in patterns(template):
        for member in set(pattern) - _TOP:
            yield rule.at("EventPattern"), f"events have no member {member!r} at their top"
        kinds = texts(pattern.get("detail-type"))
        members = [event_shapes.MEMBERS.get(kind) for kind in kinds]
        detail = pattern.get("detail")
        for member in (
            detail if isinstance(detail, dict) and members and all(m is not None for m in members) else ()
        ):
            if member != "$or" and not any(member in m for m in members if m):
                yield (
                    rule.at("EventPattern.detail"),
                    f"{kinds[0]} has no {member!r}, but: {', '.join(sorted(members[0] or ()))}",
                )


@template_rule(
    "MYT403",
    "An event pattern on a value that the member never has",
    "Use the values that the event carries, which may differ from the API's.",
)
def _values(template: Template) -> Hits:
    for rule, pattern in patterns(template):
        detail = pattern.get("detail")
        for kind in texts(pattern.get("detail-type")):
            for member, wanted in detail.items() if isinstance(detail, dict) else ():
                possible = event_shapes.values(kind, member)
                for value in texts(wanted):
                    if possible and value not in possible:
                        yield (
                            rule.at(f"EventPattern.detail.{member}"),
                            f"{value!r} is none of {', '.join(possible)}",
                        )


@template_rule(
    "MYT404",
    "An event pattern that EventBridge refuses",
    "Every leaf is a list with at least one value; operators: prefix, suffix, anything-but, "
    "numeric, exists, wildcard ...",
)
def _form(template: Template) -> Hits:
    for rule in template.of(RULE):
        pattern = rule.properties.get("EventPattern")
        if isinstance(pattern, str):
            try:
                json.loads(pattern)
            except json.JSONDecodeError:
                yield rule.at("EventPattern"), "is no JSON"
        if not pattern and not rule.properties.get("ScheduleExpression"):
            yield rule.at(), "has neither EventPattern nor ScheduleExpression"
        if pattern == {}:
            yield rule.at("EventPattern"), "is empty"
        if not rule.properties.get("Targets"):
            yield rule.at("Targets"), Advice("has no targets: nothing happens")
        if rule.properties.get("State") == "DISABLED":
            yield rule.at("State"), Advice("is DISABLED: the rule never fires")
    for rule, pattern in patterns(template):
        yield from ((rule.at("EventPattern" + path), what) for path, what in _leaves(pattern, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}") if name != "$or" else ()
    elif isinstance(value, list):
        if not value:
            yield path, "is an empty list: no event matches"
        for item in value:
            if isinstance(item, dict):
                for operator in set(item) - _OPERATORS:
                    yield path, f"there is no operator {operator!r}"
                if "numeric" in item and not _numeric(item["numeric"]):
                    yield path, f"{item['numeric']!r} is no numeric range"
    elif not opaque(value):
        yield path, f"{value!r} is no list"


def _numeric(value: Any) -> bool:
    pairs = (
        list(zip(value[::2], value[1::2], strict=False))
        if isinstance(value, list) and len(value) in (2, 4)
        else []
    )
    if not pairs or not all(
        o in ("<", "<=", ">", ">=", "=") and isinstance(n, int | float) for o, n in pairs
    ):
        return False
    return len(pairs) == 1 or float(pairs[0][1]) < float(pairs[1][1])


@template_rule(
    "MYT405",
    "A schedule that EventBridge refuses, or that never comes",
    "rate(1 minute), rate(5 minutes), or cron with six fields of which one day field is ?",
)
def _schedules(template: Template) -> Hits:
    for resource in template.of(RULE, "AWS::Scheduler::Schedule"):
        text = resource.properties.get("ScheduleExpression")
        if isinstance(text, str) and known(text) and (problem := schedule_problem(text)):
            yield resource.at("ScheduleExpression"), f"{text!r} {problem}"
    for target in template.of("AWS::ApplicationAutoScaling::ScalableTarget"):
        for index, action in enumerate(objects(target.properties.get("ScheduledActions"))):
            text = action.get("Schedule")
            if isinstance(text, str) and known(text) and (problem := schedule_problem(text)):
                yield target.at(f"ScheduledActions[{index}].Schedule"), f"{text!r} {problem}"
    for schedule in template.of("AWS::SageMaker::MonitoringSchedule"):
        text = part(schedule.properties, "MonitoringScheduleConfig", "ScheduleConfig", "ScheduleExpression")
        if (
            isinstance(text, str)
            and known(text)
            and text != "NOW"
            and not re.fullmatch(r"cron\(0 (\*|\d+|\d+/\d+) \? \* \* \*\)", text)
        ):
            yield (
                schedule.at("MonitoringScheduleConfig"),
                f"{text!r}: monitoring runs hourly or daily, as in cron(0 * ? * * *)",
            )


def schedule_problem(text: str) -> str:
    """What is wrong with a schedule; empty where nothing is."""
    if found := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", text):
        count = int(found[1])
        return (
            ""
            if count > 0 and (count > 1) == bool(found[3])
            else "wants the singular for 1, the plural above"
        )
    if re.fullmatch(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)", text):
        return ""
    return _cron_problem(text)


def _cron_problem(text: str) -> str:
    found = re.fullmatch(r"cron\((.*)\)", text)
    fields = found[1].split() if found else []
    if len(fields) != 6:
        return "is no schedule"
    if (fields[2] == "?") == (fields[4] == "?"):
        return "wants ? in one of day-of-month and day-of-week"
    for value, (low, high) in zip(
        fields, ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199)), strict=True
    ):
        if not re.fullmatch(_FIELD, value, re.IGNORECASE):
            return f"has the field {value!r}"
        if any(not low <= int(n) <= high for n in re.findall(r"(?<![/\d#])\d+", value)):
            return f"has the field {value!r}, beyond {low} to {high}"
    return ""


@template_rule(
    "MYT410",
    "A pattern for a name that this assembly does not have",
    "Mend the name, or refer to the resource.",
)
def _names(template: Template) -> Hits:
    kinds = {
        "ModelPackageGroupName": ("AWS::SageMaker::ModelPackageGroup",),
        "EndpointName": ("AWS::SageMaker::Endpoint",),
        "pipelineArn": ("Custom::SageMakerPipeline", "AWS::SageMaker::Pipeline"),
        "alarmName": ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"),
    }
    for rule, pattern in patterns(template):
        detail = pattern.get("detail")
        for member, types in kinds.items():
            names = {r.name for r in template.assembly.of(*types)}
            for value in listed(detail.get(member)) if isinstance(detail, dict) else ():
                last = str(value).rsplit("/", 1)[-1].lower() if isinstance(value, str) else ""
                if (
                    last
                    and known(last)
                    and names
                    and all(known(n) for n in names)
                    and last not in {n.lower() for n in names}
                ):
                    yield (
                        rule.at(f"EventPattern.detail.{member}"),
                        f"there is no {last}, but: {', '.join(sorted(names))}",
                    )
