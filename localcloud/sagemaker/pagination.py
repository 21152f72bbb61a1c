"""List operations: filters, sorting and opaque page tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from localcloud.sagemaker.errors import validation

T = TypeVar("T")
DEFAULT_PAGE = 10  # MaxResults of SageMaker's List operations when none is given
_PAGING = ("NextToken", "MaxResults")
_MARKS = 16  # how many of the next items may go away before a token points to a place only


def page(
    items: Sequence[T],
    request: dict[str, Any],
    *,
    key: Callable[[T], str],
    default: int = DEFAULT_PAGE,
) -> tuple[list[T], str | None]:
    """Cut one page out of sorted items and return it with the token of the next one.

    A token names the items that come next, so what was listed may be deleted, and others may be created,
    between two calls: no item is repeated and none that stays is left out. It also carries a digest of the
    request's filters: a token used with other filters, one of another operation and one that was changed are
    refused.

    Args:
        items: everything that matches, in the order in which it is shown.
        request: the validated request (MaxResults, NextToken, and the filters).
        key: what identifies an item, for example its ARN.
        default: page size without MaxResults.

    Raises:
        ServiceError: ValidationException for a token that is not this operation's.
    """
    digest = _digest(request)
    start = 0
    if "NextToken" in request:
        marks, position = _read(request["NextToken"], digest)
        places = {_mark(key(item)): place for place, item in enumerate(items)}
        there = [places[mark] for mark in marks if mark in places]
        start = there[0] if there else min(position, len(items))
    end = start + request.get("MaxResults", default)
    chosen, following = list(items[start:end]), items[end : end + _MARKS]
    if not following:
        return chosen, None
    return chosen, _write([_mark(key(item)) for item in following], end, digest)


def arrange(
    records: Sequence[dict[str, Any]],
    request: dict[str, Any],
    *,
    name: str,
    status: str | None = None,
    default_sort: str = "CreationTime",
    default_order: str = "Descending",
) -> list[dict[str, Any]]:
    """Apply the filters and the order that the List operations share.

    Filters: NameContains, CreationTimeAfter/Before, LastModifiedTimeAfter/Before, StatusEquals, each where
    the request has it. Order: SortBy (Name, CreationTime, LastModifiedTime, Status) and SortOrder.

    Args:
        records: stored documents, oldest first.
        request: the validated request.
        name: the member that holds the name.
        status: the member that holds the status.
        default_sort: SortBy without one.
        default_order: SortOrder without one.
    """
    chosen = [record for record in records if _matches(record, request, name, status)]
    members = {"Name": name, "Status": status or name}
    by = request.get("SortBy", default_sort)
    member = members.get(by, by)
    descending = request.get("SortOrder", default_order) == "Descending"
    numbered = list(enumerate(chosen))
    # Equal values keep the order of creation, so pages stay stable.
    numbered.sort(key=lambda pair: (_sortable(pair[1].get(member)), pair[0]), reverse=descending)
    return [record for _, record in numbered]


def _matches(record: dict[str, Any], request: dict[str, Any], name: str, status: str | None) -> bool:
    text = request.get("NameContains")
    if text is not None and text.lower() not in str(record[name]).lower():
        return False
    if status and "StatusEquals" in request and record.get(status) != request["StatusEquals"]:
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        time = record.get(member, 0.0)
        if time < request.get(f"{member}After", time) or time > request.get(f"{member}Before", time):
            return False
    return True


def _sortable(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value or ""))


def _digest(request: dict[str, Any]) -> str:
    filters = {name: value for name, value in request.items() if name not in _PAGING}
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:16]


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _write(marks: list[str], position: int, digest: str) -> str:
    body = json.dumps([marks, position, digest], separators=(",", ":"))
    seal = hashlib.sha256(body.encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode(f"{seal}{body}".encode()).decode()


def _read(token: str, digest: str) -> tuple[list[str], int]:
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise _invalid() from None
    seal, body = text[:16], text[16:]
    if hashlib.sha256(body.encode()).hexdigest()[:16] != seal:
        raise _invalid()
    marks, position, wanted = json.loads(body)
    # Base64 has spare bits: only the very text that was handed out counts.
    if wanted != digest or _write(marks, position, digest) != token:
        raise _invalid()
    return marks, position


def _invalid() -> Exception:
    return validation("Invalid NextToken. Use the token of the previous page with the same filters.")
