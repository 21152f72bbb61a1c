"""`dynamodb:LeadingKeys`: the partition keys that a request names.

MiniStack has no such key, and a condition `ForAllValues` on a key that is absent holds: a grant of one
partition was one of the whole table.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from localcloud.aws.differences.dynamodb_statements import statements

KEY = "dynamodb:LeadingKeys"
_EQUAL = r"(?<![\w.#]){name}\s*=\s*(:\w+)"
_WRITES = ("Put", "Update", "Delete", "ConditionCheck", "Get")


def apply() -> None:
    """Wrap what gathers DynamoDB's facts of a request."""
    from ministack.core import iam_actions
    from ministack.services import dynamodb

    gather = iam_actions.dynamodb_service_context

    def dynamodb_service_context(body: bytes) -> dict[str, Any]:
        context: dict[str, Any] = gather(body)
        try:
            data = json.loads(body or b"{}")
        except ValueError:
            return context
        keys = leading_keys(data, dynamodb._tables) if isinstance(data, dict) else None
        return context if keys is None else {**context, KEY: keys}

    iam_actions.dynamodb_service_context = dynamodb_service_context


def leading_keys(request: Mapping[str, Any], tables: Any) -> list[str] | None:
    """Values of the partition keys that a request names, each once.

    Args:
        request: of any operation.
        tables: by name, as MiniStack keeps them.

    Returns:
        None for operations without a key, such as Scan. A query whose key cannot be read, and a statement
        that names none, have the empty one, which no item has.
    """
    found = list(dict.fromkeys(_keys(request, tables)))
    return found or None


def _keys(request: Mapping[str, Any], tables: Any) -> Iterator[str]:
    table = request.get("TableName")
    if isinstance(table, str):
        yield from _of_items(table, [request.get("Key") or request.get("Item")], tables)
        if "KeyConditionExpression" in request or "KeyConditions" in request:
            yield _of_query(request, _partition_key(tables, table, request.get("IndexName")))
    batch = request.get("RequestItems")
    for name, asked in batch.items() if isinstance(batch, dict) else ():
        keys = asked.get("Keys", []) if isinstance(asked, dict) else _written(asked)
        yield from _of_items(name, keys, tables)
    for entry in request.get("TransactItems") or ():
        for one in (entry[kind] for kind in _WRITES if isinstance(entry, dict) and kind in entry):
            yield from _of_items(str(one.get("TableName")), [one.get("Key") or one.get("Item")], tables)
    for statement in statements(request):
        yield _text(statement.values.get(_partition_key(tables, statement.table, statement.index)) or {})


def _written(requests: Any) -> Iterator[Any]:
    for request in requests if isinstance(requests, list) else ():
        yield (request.get("PutRequest") or {}).get("Item") or (request.get("DeleteRequest") or {}).get("Key")


def _of_items(table: str, items: Iterable[Any], tables: Any) -> Iterator[str]:
    name = _partition_key(tables, table, None)
    for item in items:
        if isinstance(item, dict) and isinstance(item.get(name), dict):
            yield _text(item[name])


def _of_query(request: Mapping[str, Any], name: str) -> str:
    legacy = (request.get("KeyConditions") or {}).get(name)
    if legacy:
        return _text((legacy.get("AttributeValueList") or [{}])[0])
    names = request.get("ExpressionAttributeNames") or {}
    spelled = [name, *(alias for alias, meant in names.items() if meant == name)]
    for alias in spelled:
        match = re.search(_EQUAL.format(name=re.escape(alias)), str(request["KeyConditionExpression"]))
        if match:
            return _text((request.get("ExpressionAttributeValues") or {}).get(match[1]) or {})
    return ""


def _partition_key(tables: Any, table: str, index: str | None) -> str:
    # An ARN names the table, too.
    found = tables.get(table.rpartition("/")[2]) or {}
    for one in found.get("GlobalSecondaryIndexes") or ():
        if one["IndexName"] == index:
            return next(str(key["AttributeName"]) for key in one["KeySchema"] if key["KeyType"] == "HASH")
    return str(found.get("pk_name") or "")


def _text(value: Mapping[str, Any]) -> str:
    """Of an attribute value: `{"S": "dogs"}` -> `dogs`."""
    return next((str(each) for each in value.values()), "")
