"""Whose request a handler of MiniStack is serving, for checks that MiniStack does not make."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """The last authorization of the current request; an empty key is an unsigned request."""

    access_key_id: str
    service: str
    region: str


_checked: contextvars.ContextVar[Checked | None] = contextvars.ContextVar("modelyard_checked", default=None)


def note(access_key_id: str, service: str, region: str) -> None:
    """Remember who was authorized for the request of the current task."""
    _checked.set(Checked(access_key_id, service, region))


def current(service: str) -> Checked | None:
    """Who called this service directly; None where one of MiniStack's services calls another, or itself."""
    checked = _checked.get()
    return checked if checked is not None and checked.service == service else None
