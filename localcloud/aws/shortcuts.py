"""What MiniStack does at every request, or every object, and need not: the answers stay the same.

The caller of a request is found by its key; MiniStack also gathers all its policies, and throws them away. An
object's file lies where its key says; MiniStack looks at each folder above it for links, which nobody makes
in a state folder. A batch of PartiQL's insertions repeats one text, with other parameters; MiniStack reads it
anew for each.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from functools import lru_cache
from typing import Any


def apply() -> None:
    """Wrap them; call once MiniStack has its state."""
    from ministack.core import iam_evaluator
    from ministack.services import dynamodb, s3

    find_path = s3._key_disk_path

    def key_disk_path(base: str, key: str) -> Any:
        plain = f"{base}/{key}"
        if s3._plain_path_key(key) and os.path.isfile(plain):  # noqa: PTH113 - as quick as it gets
            return plain
        return find_path(base, key)

    iam_evaluator.request_caller_arn = _caller_arn
    s3._key_disk_path = key_disk_path
    dynamodb.parse_partiql_statement = _insertions_once(dynamodb.parse_partiql_statement)


def _insertions_once(parse: Callable[[str, Any], dict[str, Any]]) -> Callable[[str, Any], dict[str, Any]]:
    @lru_cache(maxsize=64)
    def insertion(text: str) -> tuple[dict[str, Any], list[str]] | None:
        """What a text says that inserts parameters as they come, and its attributes; None for others."""
        marks = [{"S": str(number)} for number in range(text.count("?"))]
        try:
            parsed = parse(text, marks)
        except ValueError:
            return None
        item = parsed.get("item")
        whole = parsed["op"] == "INSERT" and isinstance(item, dict) and list(item.values()) == marks
        return (parsed, list(item)) if whole and item else None

    def parse_statement(text: str, parameters: Any) -> dict[str, Any]:
        found = insertion(text) if isinstance(text, str) else None
        if found and len(parameters or ()) == len(found[1]):
            return {**found[0], "item": dict(zip(found[1], parameters, strict=True))}
        return parse(text, parameters)

    return parse_statement


def _caller_arn(headers: dict[str, str], query_params: dict[str, Any] | None = None) -> str:
    from ministack.core import iam_evaluator, responses, router

    account = responses.get_account_id()
    key = router.extract_access_key_id(headers, query_params or {})
    home = responses._account_from_sts_session(key) or account
    found = iam_evaluator.resolve_credential(key, home) if key else None
    arn: str = getattr(found, "principal_arn", "")
    return arn or f"arn:aws:iam::{account}:root"
