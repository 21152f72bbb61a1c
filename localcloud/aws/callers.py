"""Whose request a handler of MiniStack is serving, for checks that MiniStack does not make."""

from __future__ import annotations

import contextvars
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from localcloud.aws.identity import Caller


@dataclass(frozen=True, slots=True)
class Checked:
    """The last authorization of the current request; an empty key is an unsigned request."""

    access_key_id: str
    service: str
    region: str


_checked: contextvars.ContextVar[Checked | None] = contextvars.ContextVar("modelyard_checked", default=None)


_decided: contextvars.ContextVar[dict[Hashable, Any] | None] = contextvars.ContextVar(
    "modelyard_decided", default=None
)


def share(decided: dict[Hashable, Any]) -> None:
    """Let the requests of one turn of the loop, of one session, reuse what was decided for one of them."""
    _decided.set(decided)


def decided() -> dict[Hashable, Any]:
    """Decisions that the current request may reuse, and where it puts its own."""
    found = _decided.get()
    return {} if found is None else found


def note(access_key_id: str, service: str, region: str) -> None:
    """Remember who was authorized for the request of the current task."""
    _checked.set(Checked(access_key_id, service, region))


def current(service: str) -> Checked | None:
    """Who called this service directly; None where one of MiniStack's services calls another, or itself."""
    checked = _checked.get()
    return checked if checked is not None and checked.service == service else None


def identity_of(checked: Checked) -> Caller:
    """The principal behind a checked request."""
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id

    found = iam_evaluator.resolve_credential(checked.access_key_id, get_account_id())
    known = not isinstance(found, iam_evaluator.CredentialResolutionError)
    return Caller(
        access_key_id=checked.access_key_id,
        arn=found.principal_arn if known else "anonymous",
        account=found.account_id if known else get_account_id(),
        region=checked.region,
    )
