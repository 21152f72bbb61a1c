"""What stacks of one assembly say about each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Template, known


def _functions(value: Any, wanted: str, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == wanted:
                yield path, item
            yield from _functions(item, wanted, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _functions(item, wanted, f"{path}[{index}]")


@template_rule(
    "MYT701",
    "An import of what no stack exports",
    "Export it, or mend the name: the deployment fails at this stack.",
)
def _imports(template: Template) -> Hits:
    stacks = {t.name for t in template.assembly.templates}
    for resource in template.resources.values():
        for _, name in _functions(resource.raw, "Fn::ImportValue"):
            text = template.resolve(name)
            if (
                isinstance(text, str)
                and known(text)
                and str(template.assembly.export(text)).startswith("${?import")
                and len(stacks) > 1
            ):
                yield resource.at(), f"no stack exports {text}"


@template_rule(
    "MYT702",
    "Two resources with one physical name",
    "Let CloudFormation name them, or give each a name of its own: the second deployment fails.",
)
def _twins(template: Template) -> Hits:
    seen: dict[tuple[str, str], str] = {}
    for other in template.assembly.templates:
        for resource in other.resources.values():
            name = resource.name
            if not known(name) or resource.type in ("AWS::ECS::TaskDefinition", "AWS::ECS::Service"):
                continue
            key = (resource.type, name)
            if key in seen and other is template:
                yield resource.at(), f"{seen[key]} is called {name} too"
            seen.setdefault(key, f"{other.name}/{resource.id}")


@template_rule(
    "MYT703",
    "Stacks that import from each other",
    "Move what both need into a third stack: neither can be deployed first.",
)
def _circles(template: Template) -> Hits:
    def imports(one: Template) -> set[str]:
        found = set()
        for _, name in _functions([r.raw for r in one.resources.values()], "Fn::ImportValue"):
            one.assembly.export("")
            exporter = (one.assembly.exports or {}).get(str(one.resolve(name)))
            if exporter:
                found.add(exporter[0].name)
        return found

    own = imports(template)
    for other in template.assembly.templates:
        if other.name in own and other is not template and template.name in imports(other):
            yield "Outputs", f"imports from {other.name}, which imports from here"


@template_rule(
    "MYT704",
    "A value that was written in place of a reference",
    "Write Ref, Fn::GetAtt or Fn::Sub: as a text, it is passed on letter by letter.",
)
def _texts(template: Template) -> Hits:
    for resource in template.resources.values():
        if resource.type == "AWS::CDK::Metadata":
            continue
        text = json.dumps(resource.raw)
        if "${Token[" in text or re.search(r"TOKEN\[[\w.]+\]|<unresolved", text):
            yield resource.at(), "holds an unresolved token of CDK"
        for path, value in _plain(resource.raw, ""):
            found = re.search(r"\$\{(AWS::\w+|[A-Z]\w+(\.\w+)?)\}", value)
            if (
                found
                and (found[1].startswith("AWS::") or found[1].split(".")[0] in template.resources)
                and not _substituted(resource.type, path)
            ):
                yield resource.at(path.lstrip(".")), f"{found[0]} stands in a text without Fn::Sub"


def _substituted(kind: str, path: str) -> bool:
    return "Fn::Sub" in path or (kind == "AWS::StepFunctions::StateMachine" and "Definition" in path)


def _plain(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _plain(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _plain(item, f"{path}[{index}]")
