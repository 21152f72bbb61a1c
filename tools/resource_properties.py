"""Writes `localcloud/cloudformation/resource_properties.json`: which properties CloudFormation's types have.

    python tools/resource_properties.py SCHEMAS

SCHEMAS is a folder of CloudFormation's public resource provider schemas, as
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schemas.html offers them as one
archive per region, or as the package cfn-lint brings them (`cfnlint/data/schemas/resources`).

A type is an object of its properties; a property's value is the object of its own properties, of one or of
each in a list, or null where everything may stand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent.parent / "localcloud" / "cloudformation" / "resource_properties.json"
_DEPTH = 4
# That MiniStack has not.
_ADDED = (
    "AWS::EC2::FlowLog",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::SSM::Document",
)


def main(folder: Path) -> None:
    """Write the file from the schemas of a folder, for the types that the local cloud makes."""
    from ministack.services.cloudformation import provisioners

    types: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        schema = json.loads(path.read_text())
        name = schema.get("typeName")
        made = name in provisioners._RESOURCE_HANDLERS or name in _ADDED
        known = _properties(schema, schema, _DEPTH) if made else None
        if known is None:
            continue
        # Attributes for Fn::GetAtt, which no template may set.
        for read_only in schema.get("readOnlyProperties", []):
            known.pop(read_only.removeprefix("/properties/"), None)
        types[name] = _merged(types.get(name, known), known)
    OUTPUT.write_text(json.dumps(types, sort_keys=True, separators=(",", ":")) + "\n")
    sys.stdout.write(f"{len(types)} types, {OUTPUT.stat().st_size} bytes\n")


def _properties(node: Any, schema: dict[str, Any], depth: int) -> dict[str, Any] | None:
    node = _resolved(node, schema)
    if "items" in node:
        return _properties(node["items"], schema, depth)
    # Alternatives, patterns and open objects: what stands there is not ours to judge.
    alternatives = depth < _DEPTH and {"oneOf", "anyOf", "allOf"} & set(node)
    closed = node.get("additionalProperties") is False and "patternProperties" not in node
    if depth == 0 or alternatives or not closed or not node.get("properties"):
        return None
    return {name: _properties(child, schema, depth - 1) for name, child in node["properties"].items()}


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    seen = 0
    while "$ref" in node and seen < 10:
        target: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node, seen = target, seen + 1
    return node


def _merged(one: Any, other: Any) -> Any:
    """What either knows; regions differ in a few types."""
    if one is None or other is None:
        return None
    names = one.keys() | other.keys()
    both = one.keys() & other.keys()
    return {n: _merged(one[n], other[n]) if n in both else one.get(n, other.get(n)) for n in names}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
