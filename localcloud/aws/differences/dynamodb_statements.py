"""PartiQL: a statement needs the permission that is its own, on the table that it names.

MiniStack asks for `dynamodb:ExecuteStatement` and its like, on any resource; IAM knows no such actions.
Whoever lacks the permission for one of a batch is refused the batch, where AWS answers that one with
`AccessDenied`.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_ACTIONS = {
    "SELECT": "dynamodb:PartiQLSelect",
    "EXISTS": "dynamodb:PartiQLSelect",
    "INSERT": "dynamodb:PartiQLInsert",
    "UPDATE": "dynamodb:PartiQLUpdate",
    "DELETE": "dynamodb:PartiQLDelete",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What IAM asks of a statement.

    `action`: for example `dynamodb:PartiQLInsert`; `table`: name or ARN; `index`: empty without one;
    `values`: attributes that the statement gives, or compares with `=`, as DynamoDB spells values.
    """

    action: str
    table: str
    index: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def apply() -> None:
    """Wrap what says what an operation over several items needs."""
    from ministack.core import iam_actions

    find = iam_actions.dynamodb_transaction_checks

    def dynamodb_transaction_checks(
        iam_action: str, body: bytes, region: str, account_id: str
    ) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = find(iam_action, body, region, account_id)
        if found or not iam_action.endswith(("ExecuteStatement", "ExecuteTransaction")):
            return found
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            return []
        needed: dict[tuple[str, str], None] = {}
        for each in statements(request) if isinstance(request, dict) else ():
            table = iam_actions._dynamodb_table_arn(each.table, region, account_id)
            needed[each.action, f"{table}/index/{each.index}" if each.index else table] = None
        return list(needed)

    iam_actions.dynamodb_transaction_checks = dynamodb_transaction_checks


def statements(request: Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of a request, of any operation; those that DynamoDB will not understand are left out."""
    from ministack.services import dynamodb

    for asked in _asked(request):
        try:
            parsed = dynamodb._parse_partiql(asked["Statement"], asked.get("Parameters") or [])
            inner = parsed.get("select") if parsed["op"] == "EXISTS" else parsed
            yield Statement(_ACTIONS[parsed["op"]], inner["table"], inner.get("index") or "", _values(inner))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _asked(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "Statement" in request:
        yield request
    for name in ("Statements", "TransactStatements"):
        for each in request.get(name) or ():
            if isinstance(each, dict):
                yield each


def _values(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    item = parsed.get("item")
    if isinstance(item, dict):
        return item["M"] if set(item) == {"M"} else item
    return {name: value for name, operator, value in parsed.get("conditions") or () if operator == "="}
