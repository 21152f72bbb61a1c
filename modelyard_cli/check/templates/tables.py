"""Tables."""

from __future__ import annotations

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import (
    Template,
    objects,
    part,
)

TABLE = "AWS::DynamoDB::Table"


@template_rule(
    "MYT635",
    "A table whose keys are no attributes, or attributes no keys",
    "AttributeDefinitions has exactly the attributes of the table's and its indexes' keys.",
)
def _tables(template: Template) -> Hits:
    for table in template.of(TABLE, "AWS::DynamoDB::GlobalTable"):
        p = table.properties
        declared = [a.get("AttributeName") for a in objects(p.get("AttributeDefinitions"))]
        schemas = [("KeySchema", p.get("KeySchema"))]
        schemas += [
            (f"{kind}[{i}].KeySchema", index.get("KeySchema"))
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for i, index in enumerate(objects(p.get(kind)))
        ]
        used = [k.get("AttributeName") for _, schema in schemas for k in objects(schema)]
        for path, schema in schemas:
            for key in objects(schema):
                if key.get("AttributeName") not in declared:
                    yield table.at(path), f"{key.get('AttributeName')!r} is not in AttributeDefinitions"
            if [k.get("KeyType") for k in objects(schema)] not in (["HASH"], ["HASH", "RANGE"]) and objects(
                schema
            ):
                yield table.at(path), "is not HASH, or HASH and RANGE"
        for name in declared:
            if name not in used:
                yield table.at("AttributeDefinitions"), f"{name!r} is no key: the table is refused"
        on_demand = p.get("BillingMode") == "PAY_PER_REQUEST"
        if on_demand and p.get("ProvisionedThroughput"):
            yield table.at("ProvisionedThroughput"), "stands beside BillingMode PAY_PER_REQUEST"
        elif not on_demand and table.type == TABLE and not p.get("ProvisionedThroughput"):
            yield table.at("BillingMode"), "has neither PAY_PER_REQUEST nor ProvisionedThroughput"
        ttl = part(p, "TimeToLiveSpecification", "AttributeName")
        if ttl is not None and ttl in used:
            yield table.at("TimeToLiveSpecification"), f"{ttl!r} is a key"
