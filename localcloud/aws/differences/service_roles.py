"""What a service may do with a role that it was given, asked at the moment that it acts."""

from __future__ import annotations

import contextvars
from datetime import UTC, datetime, timedelta

from localcloud.aws import identity
from localcloud.context import Credentials

_sessions: dict[tuple[str, str], Credentials] = {}


def may(role: str, service: str, action: str, resource: str) -> bool:
    """Whether a role trusts the service and allows an action; the decision goes to the audit.

    Args:
        role: its ARN.
        service: the principal that acts, for example `events.amazonaws.com`.
    """
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_region, request_scope

    credentials = session_of(role, service)
    if credentials is None:
        return False
    key, account, region = credentials.access_key_id, role.split(":")[4], get_region()

    def ask() -> bool:
        # The evaluator would take the request that leads here for the role's own.
        iam_evaluator._anonymous.set(False)
        iam_evaluator._signed_request.set(None)
        with request_scope(account, region):
            denied = iam_evaluator.enforce(key, action, action.partition(":")[0], region, resource)
        return denied is None

    return contextvars.copy_context().run(ask)


def session_of(role: str, service: str) -> Credentials | None:
    """One session for many actions; whether the service is trusted is asked each time."""
    if not identity.role_trusts(role, service):
        return None
    kept = _sessions.get((role, service))
    soon = datetime.now(UTC) + timedelta(minutes=5)
    if kept is None or kept.expiration is None or kept.expiration < soon:
        kept = identity.assume_role(role, service=service, session=service.partition(".")[0])
        _sessions[role, service] = kept
    return kept
