"""A template that refers to what it does not have is refused before anything is made.

MiniStack takes the text instead, or leaves a dependency out.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SUB = re.compile(r"\$\{(?!!)\s*([^}]+?)\s*\}")
# Sections whose names take part, with the attributes of theirs that are evaluated.
_EVALUATED = {"Resources": ("Properties", "CreationPolicy", "UpdatePolicy"), "Outputs": ("Value", "Export")}
_GET_ATT = "Fn::GetAtt"


def apply() -> None:
    """Wrap the check that every template goes through."""
    from ministack.services.cloudformation import engine

    validate = engine._validate_template_statics

    def validate_template_statics(template: dict[str, Any]) -> None:
        validate(template)
        fault = reference_fault(template)
        if fault is not None:
            raise ValueError(fault)

    engine._validate_template_statics = validate_template_statics


def reference_fault(template: Mapping[str, Any]) -> str | None:
    """What a template refers to in vain, in CloudFormation's words; None if nothing.

    A template with macros is left alone: they may make what is missing.
    """
    if template.get("Transform"):
        return None
    resources, parameters = template.get("Resources") or {}, template.get("Parameters") or {}
    for section, parts in _EVALUATED.items():
        missing: list[str] = []
        for entry in (template.get(section) or {}).values():
            if not isinstance(entry, dict):
                continue
            for kind, name in _references([entry.get(part) for part in parts]):
                if kind == _GET_ATT and name not in resources:
                    return f"Template error: instance of Fn::GetAtt references undefined resource {name}"
                if name not in resources and name not in parameters and not name.startswith("AWS::"):
                    missing.append(name)
            if section == "Resources":
                needed = entry.get("DependsOn") or []
                missing += [name for name in _list(needed) if name not in resources]
        if missing:
            names = ", ".join(dict.fromkeys(missing))
            return (
                f"Template format error: Unresolved resource dependencies [{names}] in the {section} block "
                "of the template"
            )
    return None


def _references(node: Any) -> Iterator[tuple[str, str]]:
    """Function and name of every reference below a node."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
        return
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if len(node) == 1 and key == "Ref" and isinstance(value, str):
            yield key, value
        elif len(node) == 1 and key == _GET_ATT:
            yield from _get_att(value)
        elif len(node) == 1 and key == "Fn::Sub":
            yield from _substitutions(value)
        else:
            yield from _references(value)


def _get_att(value: Any) -> Iterator[tuple[str, str]]:
    target = value.split(".", 1) if isinstance(value, str) else value
    if isinstance(target, list) and target and isinstance(target[0], str):
        yield _GET_ATT, target[0]


def _substitutions(value: Any) -> Iterator[tuple[str, str]]:
    text, given = (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (value, {})
    yield from _references(given)
    for found in _SUB.findall(text) if isinstance(text, str) else ():
        if found not in given:
            name, dot, _attribute = found.partition(".")
            yield (_GET_ATT if dot else "Ref"), name


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
