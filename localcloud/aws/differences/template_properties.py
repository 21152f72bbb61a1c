"""A template with a property that its resource's type does not have fails before anything is made.

MiniStack leaves out what it does not know. The properties of its types come from CloudFormation's public
schemas (`tools/resource_properties.py`).
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "cloudformation" / "resource_properties.json"


def apply() -> None:
    """Wrap the validation before a deployment."""
    from ministack.services.cloudformation import stacks

    validate = stacks._validation_errors

    def validation_errors(
        resources: Mapping[str, Any], ordered: list[str], *arguments: Any, **named: Any
    ) -> list[tuple[str, str, str, str, str]]:
        errors: list[tuple[str, str, str, str, str]] = validate(resources, ordered, *arguments, **named)
        for logical_id in ordered:
            resource = resources[logical_id]
            kind = str(resource.get("Type", ""))
            for path, name in unknown_properties(kind, resource.get("Properties") or {}):
                place = "/".join(["/Resources", logical_id, "Properties", *path])
                reason = f"#{''.join(f'/{part}' for part in path)}: extraneous key [{name}] is not permitted"
                errors.append((logical_id, kind, "PROPERTY_VALIDATION", place, reason))
        return errors

    stacks._validation_errors = validation_errors


def unknown_properties(kind: str, properties: Any) -> Iterator[tuple[list[str], str]]:
    """Path and name of every property that a type does not have.

    Args:
        kind: for example `AWS::SQS::Queue`; of one that is not known here, nothing is said.
        properties: as the template has them, functions included.
    """
    known = _types().get(kind)
    if known is not None:
        yield from _unknown(properties, known, [])


def _unknown(node: Any, known: Mapping[str, Any], path: list[str]) -> Iterator[tuple[list[str], str]]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _unknown(item, known, [*path, str(index)])
    elif isinstance(node, dict) and not any(key == "Ref" or key.startswith("Fn::") for key in node):
        for name, value in node.items():
            if name not in known:
                yield path, name
            elif known[name] is not None:
                yield from _unknown(value, known[name], [*path, name])


@cache
def _types() -> dict[str, Any]:
    types: dict[str, Any] = json.loads(_FILE.read_text())
    return types
