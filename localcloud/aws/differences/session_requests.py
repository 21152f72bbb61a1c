"""AssumeRole holds names and durations of sessions to their bounds.

MiniStack takes any.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qs

_NAME = r"[\w+=,.@-]*"
_LEAST, _MOST, _CHAINED = 900, 43200, 3600


def apply() -> None:
    """Wrap the service's entry."""
    from ministack.services import sts

    handle = sts.handle_request

    async def handle_request(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, list[str]]
    ) -> Any:
        request = _parameters(method, headers, body, query_params)
        if request.get("Action") == "AssumeRole":
            fault = _fault(request, chained=_of_a_session(headers, query_params))
            if fault is not None:
                return sts._error(400, "ValidationError", escape(fault), ns="sts")
        return await handle(method, path, headers, body, query_params)

    sts.handle_request = handle_request


def _parameters(
    method: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, list[str]]
) -> dict[str, str]:
    """Scalar members, whichever protocol brings them."""
    target = headers.get("x-amz-target", "")
    if "amz-json" in headers.get("content-type", ""):
        try:
            members = json.loads(body or b"{}")
        except ValueError:
            return {}
        plain = {name: str(value) for name, value in members.items() if not isinstance(value, list | dict)}
        return plain | {"Action": target.rpartition(".")[2]}
    found = {**query, **(parse_qs(body.decode("utf-8", "replace")) if method == "POST" else {})}
    return {name: values[0] for name, values in found.items() if values}


def _of_a_session(headers: Mapping[str, str], query: Mapping[str, list[str]]) -> bool:
    from ministack.core.router import extract_access_key_id
    from ministack.services import sts

    session = sts._sessions.get(extract_access_key_id(dict(headers), dict(query)) or "")
    return session is not None and ":assumed-role/" in str(session.get("Arn"))


def _fault(request: Mapping[str, str], *, chained: bool) -> str | None:
    name, seconds = request.get("RoleSessionName"), request.get("DurationSeconds")
    if name is None:
        return _violation("null", "roleSessionName", "Member must not be null")
    rules = {
        "Member must have length greater than or equal to 2": len(name) < 2,
        "Member must have length less than or equal to 64": len(name) > 64,
        f"Member must satisfy regular expression pattern: {_NAME}": not re.fullmatch(_NAME, name, re.ASCII),
    }
    broken = next((rule for rule, holds in rules.items() if holds), None)
    if broken is not None:
        return _violation(f"'{name}'", "roleSessionName", broken)
    return None if seconds is None else _duration_fault(seconds, request.get("RoleArn", ""), chained=chained)


def _duration_fault(text: str, role_arn: str, *, chained: bool) -> str | None:
    seconds = int(text) if text.isdecimal() else 0
    if not _LEAST <= seconds <= _MOST:
        bound = f"greater than or equal to {_LEAST}" if seconds < _LEAST else f"less than or equal to {_MOST}"
        return _violation(f"'{text}'", "durationSeconds", f"Member must have value {bound}")
    if chained and seconds > _CHAINED:
        limit = "the 1 hour session limit for roles assumed by role chaining"
        return f"The requested DurationSeconds exceeds {limit}"
    longest = _longest(role_arn)
    if longest is not None and seconds > longest:
        return "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    return None


def _violation(value: str, member: str, constraint: str) -> str:
    return (
        f"1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {constraint}"
    )


def _longest(role_arn: str) -> int | None:
    from ministack.services import iam

    parts = role_arn.split(":", 5)
    if len(parts) != 6:
        return None
    role = iam._roles.get_scoped(parts[4], None, parts[5].rpartition("/")[2])
    return None if role is None else int(role.get("MaxSessionDuration") or 3600)
