"""A service's session of a role, renewed before it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from localcloud.context import Credentials

# SDKs ask for new ones a quarter of an hour before the end, and must get some that last.
_RENEWED_BEFORE_END = timedelta(minutes=30)


class RoleSession:
    """Credentials for as long as somebody works with a role; safe for several threads.

    Args:
        assume: makes new credentials, usually through `identity.assume_role`.

    Example:
        >>> session = RoleSession(lambda: identity.assume_role(role, service=service, session="SageMaker"))
        >>> cloud.client("s3", session())
    """

    def __init__(self, assume: Callable[[], Credentials]) -> None:
        self._assume = assume
        self._lock = threading.Lock()
        self._kept: Credentials | None = None

    def __call__(self) -> Credentials:
        """The credentials of now. Raises what `assume` does, also when the role no longer exists."""
        with self._lock:
            kept = self._kept
            if kept is None or (
                kept.expiration is not None and kept.expiration - datetime.now(UTC) < _RENEWED_BEFORE_END
            ):
                kept = self._kept = self._assume()
            return kept
