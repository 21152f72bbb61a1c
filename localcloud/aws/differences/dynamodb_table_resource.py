"""A table of a template gets its encryption, backups and time to live, and its protection from deletion.

MiniStack's `AWS::DynamoDB::Table` and `::GlobalTable` ignore them.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Properties = Mapping[str, Any]


def apply() -> None:
    """Wrap MiniStack's handlers of both types."""
    from ministack.services.cloudformation import provisioners

    for name in ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"):
        _wrap(provisioners._RESOURCE_HANDLERS[name])


def _wrap(handlers: dict[str, Any]) -> None:
    from ministack.services import dynamodb

    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def create_table(logical_id: str, properties: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        configure(name, {}, properties)
        return name, attributes

    def update_table(*arguments: Any) -> Any:
        physical_id, old, new = arguments[:3]
        name, attributes = update(*arguments)
        configure(name, old if name == physical_id else {}, new)
        return name, attributes

    def delete_table(physical_id: str, properties: Properties) -> None:
        if (dynamodb._tables.get(physical_id) or {}).get("DeletionProtectionEnabled"):
            raise ValueError(
                "Resource cannot be deleted as it is currently protected against deletion. "
                "Disable deletion protection first."
            )
        delete(physical_id, properties)

    handlers.update(create=create_table, update=update_table, delete=delete_table)


def configure(name: str, old: Properties, new: Properties) -> None:
    """Put what changed in a table's properties."""
    from ministack.services import dynamodb

    replica_old, replica_new = _replica(old), _replica(new)
    dynamodb._tables[name]["DeletionProtectionEnabled"] = _true(replica_new.get("DeletionProtectionEnabled"))
    encryption = _encryption(new, replica_new)
    if encryption != _encryption(old, replica_old):
        dynamodb._tables[name]["SSEDescription"] = dynamodb._sse_description_from_spec(encryption)
    backups = replica_new.get("PointInTimeRecoverySpecification")
    if backups != replica_old.get("PointInTimeRecoverySpecification"):
        enabled = {"PointInTimeRecoveryEnabled": _true((backups or {}).get("PointInTimeRecoveryEnabled"))}
        request = {"TableName": name, "PointInTimeRecoverySpecification": enabled}
        _check(dynamodb._update_continuous_backups(request))
    lifetime = new.get("TimeToLiveSpecification")
    if lifetime and lifetime != old.get("TimeToLiveSpecification"):
        specification = {**lifetime, "Enabled": _true(lifetime.get("Enabled"))}
        _check(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": specification}))


def _replica(properties: Properties) -> Properties:
    """Where a template says what holds for this region: in the table, or in its one replica."""
    from ministack.core.responses import get_region

    for replica in properties.get("Replicas", []):
        if replica.get("Region") == get_region():
            return dict(replica)
    return properties


def _encryption(properties: Properties, replica: Properties) -> dict[str, Any] | None:
    specification = properties.get("SSESpecification")
    if not specification:
        return None
    key = {**specification, **(replica.get("SSESpecification") or {})}.get("KMSMasterKeyId")
    encryption = {"Enabled": _true(specification.get("SSEEnabled")), "SSEType": "KMS"}
    return {**encryption, "KMSMasterKeyId": key} if key else encryption


def _check(answer: Any) -> None:
    status, _headers, body = answer
    if status >= 300:
        raise ValueError(json.loads(body).get("message", "DynamoDB refused a property of the table"))


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
