"""Items of a table under a customer's KMS key need the key's permission too.

MiniStack serves them to whoever may use the table. On AWS DynamoDB asks KMS with the caller's rights,
and answers "KMS key access denied".
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
"""

from __future__ import annotations

import json
from typing import Any

from localcloud.aws import callers
from localcloud.aws.differences import kms_use
from localcloud.aws.differences.dynamodb_statements import statements

_DATA = frozenset(
    {
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "Scan",
        "BatchGetItem",
        "BatchWriteItem",
        "TransactGetItems",
        "TransactWriteItems",
        "ExecuteStatement",
        "BatchExecuteStatement",
        "ExecuteTransaction",
    }
)


def apply() -> None:
    """Wrap the service's one entrance."""
    from ministack.core.responses import error_response_json
    from ministack.services import dynamodb

    serve = dynamodb.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Any:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        caller = callers.current("dynamodb")
        if caller is not None and operation in _DATA:
            for name in _tables(body):
                if message := _refusal(caller, name):
                    return error_response_json("AccessDeniedException", message, 400)
        return await serve(method, path, headers, body, query_params)

    dynamodb.handle_request = handle_request


def _refusal(caller: callers.Checked, table: str) -> str | None:
    from ministack.core.responses import get_account_id
    from ministack.services import dynamodb

    record = dynamodb._tables.get(table.rpartition("/")[2])
    encryption = (record or {}).get("SSEDescription") or {}
    key = encryption.get("KMSMasterKeyArn")
    if not key or encryption.get("SSEType") != "KMS":
        return None
    name = table.rpartition("/")[2]
    context = {"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": get_account_id()}
    refused = kms_use.refusal(caller, "kms:Decrypt", key, "dynamodb", context)
    if refused is None:
        return None
    code, message = refused
    return f"KMS key access denied error: {message}" if code == "AccessDenied" else message


def _tables(body: bytes) -> set[str]:
    """Names or ARNs of the tables that a request touches."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return set()
    names = {request["TableName"]} if request.get("TableName") else set()
    if isinstance(request.get("RequestItems"), dict):
        names |= request["RequestItems"].keys()
    for item in request.get("TransactItems") or []:
        names |= {part["TableName"] for part in item.values() if "TableName" in part}
    names |= {statement.table for statement in statements(request)}
    return {str(name) for name in names}
