"""A template whose intrinsic functions are worked out as far as the template, or its assembly, tells.

A value that only the deployment knows stays as a token: `${Stack/LogicalId.Attribute}` for a resource,
`${AWS::Region}` for a pseudo parameter, `${?...}` for what cannot be told. Names and ARNs of resources are
spelt out where a template gives them, so that a literal name and a reference to it compare as equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from modelyard_cli.check.templates import names

_SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")
RESOURCE_TOKEN = re.compile(r"\$\{([^/${}?]+)/([A-Za-z0-9]+)\.([A-Za-z0-9.]+)\}")
_TOKEN = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource:
    """One resource; `raw` are its properties as written, `properties` with functions worked out."""

    id: str
    type: str
    template: Template
    raw: dict[str, Any]
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        resolved = self.template.cache.get(self.id)
        if resolved is None:
            resolved = self.template.cache[self.id] = self.template.resolve(self.raw)
        return resolved if isinstance(resolved, dict) else {}

    def at(self, path: str = "") -> str:
        """A place in this resource: `at("Role")` is `Id/Properties.Role`."""
        return f"{self.id}/Properties.{path}" if path else self.id

    @property
    def name(self) -> str:
        """Its physical name, or a token where CloudFormation makes one."""
        return names.name_of(self)


@dataclass(slots=True, kw_only=True, eq=False)
class Template:
    """One template and the assembly it belongs to."""

    name: str
    document: dict[str, Any]
    assembly: Assembly
    file: str = ""
    cache: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for logical_id, body in (self.document.get("Resources") or {}).items():
            if isinstance(body, dict) and isinstance(body.get("Type"), str):
                raw = body.get("Properties")
                self.resources[logical_id] = Resource(
                    id=logical_id,
                    type=body["Type"],
                    template=self,
                    raw=raw if isinstance(raw, dict) else {},
                    body=body,
                )

    def of(self, *types: str) -> Iterator[Resource]:
        """Resources of these types; a type may end in `*`."""
        for resource in self.resources.values():
            if any(resource.type == t or (t[-1] == "*" and resource.type.startswith(t[:-1])) for t in types):
                yield resource

    def resolve(self, value: Any, depth: int = 0) -> Any:
        """A value with its functions worked out."""
        if isinstance(value, list):
            items = (self.resolve(item, depth) for item in value)
            return [item for item in items if item != "${AWS::NoValue}"]
        if not isinstance(value, dict) or depth > 40:
            return value
        if len(value) == 1:
            function, argument = next(iter(value.items()))
            if function in _FUNCTIONS:
                return _FUNCTIONS[function](self, argument, depth + 1)
            if function.startswith("Fn::") or function == "Condition":
                return "${?" + function + "}" if function != "Condition" else value
        resolved = {key: self.resolve(item, depth) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item != "${AWS::NoValue}"}

    def ref(self, name: str) -> Any:
        if name in self.resources:
            return names.ref_of(self.resources[name])
        parameter = (self.document.get("Parameters") or {}).get(name)
        if isinstance(parameter, dict):
            typed = str(parameter.get("Type", ""))
            if "Default" in parameter and not typed.startswith("AWS::SSM"):
                return parameter["Default"]
            return "${?" + name + "}"
        return "${" + name + "}" if name.startswith("AWS::") else "${?" + name + "}"

    def attribute(self, logical_id: str, attribute: str) -> str:
        if logical_id in self.resources:
            return names.attribute_of(self.resources[logical_id], attribute)
        return "${?" + f"{logical_id}.{attribute}" + "}"


@dataclass(slots=True, eq=False)
class Assembly:
    """Templates that are deployed together."""

    templates: list[Template] = field(default_factory=list)
    folder: str = ""
    exports: dict[str, tuple[Template, Any]] | None = None

    def of(self, *types: str) -> Iterator[Resource]:
        """Resources of these types in all stacks."""
        for template in self.templates:
            yield from template.of(*types)

    def export(self, name: str) -> Any:
        if self.exports is None:
            self.exports = {}
            for template in self.templates:
                for output in (template.document.get("Outputs") or {}).values():
                    exported = output.get("Export", {}).get("Name") if isinstance(output, dict) else None
                    if exported is not None:
                        self.exports[str(template.resolve(exported))] = (template, output.get("Value"))
        found = self.exports.get(name)
        return found[0].resolve(found[1]) if found else "${?import " + name + "}"

    def target(self, value: Any, *types: str) -> Resource | None:
        """The resource that a text names: by a token, or by its name or ARN written out."""
        if not isinstance(value, str):
            return None
        token = RESOURCE_TOKEN.search(value)
        if token:
            for template in self.templates:
                if template.name == token[1] and token[2] in template.resources:
                    found = template.resources[token[2]]
                    if not types or found.type in types:
                        return found
        last = re.split(r"[:/]", value)[-1]
        for resource in self.of(*types) if types else ():
            if value in (resource.name, names.arn_of(resource)) or last == resource.name:
                return resource
        return None


def known(value: Any) -> bool:
    """Whether a value holds nothing that only the deployment knows."""
    return not (isinstance(value, str) and "${" in value)


def opaque(value: Any) -> bool:
    """Whether a value holds something that nothing here tells."""
    return isinstance(value, str) and "${?" in value


def literal(value: str) -> str:
    """A text with its tokens as one word each, for matching patterns."""
    return _TOKEN.sub("token", value)


def distinct(value: str) -> str:
    """A text with its tokens as words: one each for resources, the same for all else."""
    return literal(RESOURCE_TOKEN.sub(lambda found: f"token-{found[1]}-{found[2]}", value))


def number(value: Any) -> float | None:
    """A number as templates write it, with or without quotes."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what is no list is an empty one, a single object a list of one."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def listed(value: Any) -> list[Any]:
    """A value as a list: policies write single values without brackets."""
    return value if isinstance(value, list) else [] if value is None else [value]


def part(value: Any, *path: str) -> Any:
    """A member deep in objects, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _ref(template: Template, argument: Any, _depth: int) -> Any:
    return template.ref(str(argument))


def _get_att(template: Template, argument: Any, _depth: int) -> Any:
    parts = argument.split(".", 1) if isinstance(argument, str) else [str(item) for item in argument]
    return template.attribute(parts[0], ".".join(parts[1:]))


def _join(template: Template, argument: Any, depth: int) -> Any:
    if not (isinstance(argument, list) and len(argument) == 2):
        return "${?Fn::Join}"
    items = template.resolve(argument[1], depth)
    return str(argument[0]).join(map(str, items)) if isinstance(items, list) else "${?Fn::Join}"


def _sub(template: Template, argument: Any, depth: int) -> Any:
    text, values = (argument, {}) if isinstance(argument, str) else (str(argument[0]), argument[1])

    def replace(match: re.Match[str]) -> str:
        name = match[2].strip()
        if match[1]:
            return "${" + name + "}"
        if name in values:
            return str(template.resolve(values[name], depth))
        if "." in name:
            return template.attribute(*name.split(".", 1))
        return str(template.ref(name))

    return _SUBSTITUTION.sub(replace, text)


def _import(template: Template, argument: Any, depth: int) -> Any:
    return template.assembly.export(str(template.resolve(argument, depth)))


def _select(template: Template, argument: Any, depth: int) -> Any:
    resolved = template.resolve(argument, depth)
    if isinstance(resolved, list) and len(resolved) == 2 and isinstance(resolved[1], list):
        index = number(resolved[0])
        if index is not None and index < len(resolved[1]):
            return resolved[1][int(index)]
    return "${?Fn::Select}"


def _split(template: Template, argument: Any, depth: int) -> Any:
    text = template.resolve(argument[1], depth) if isinstance(argument, list) and len(argument) == 2 else None
    if isinstance(text, str) and not opaque(text):
        # Names of tokens hold the characters that texts are split at.
        tokens = _TOKEN.findall(text)
        parts = _TOKEN.sub("\0", text).split(str(argument[0]))
        spare = iter(tokens)
        return [re.sub("\0", lambda _: next(spare), part) for part in parts]
    return "${?Fn::Split}"


def _if(template: Template, argument: Any, depth: int) -> Any:
    if isinstance(argument, list) and len(argument) == 3:
        first, second = (template.resolve(item, depth) for item in argument[1:])
        if first == second:
            return first
        if not isinstance(first, str) or not isinstance(second, str):
            return first if second == "${AWS::NoValue}" else second if first == "${AWS::NoValue}" else first
    return "${?Fn::If}"


def _map(template: Template, argument: Any, depth: int) -> Any:
    keys = template.resolve(argument, depth)
    found = template.document.get("Mappings")
    for key in keys if isinstance(keys, list) else ():
        found = found.get(key) if isinstance(found, dict) and isinstance(key, str) else None
    return "${?Fn::FindInMap}" if found is None else found


_FUNCTIONS = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Join": _join,
    "Fn::Sub": _sub,
    "Fn::ImportValue": _import,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::If": _if,
    "Fn::FindInMap": _map,
}
