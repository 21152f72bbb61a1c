"""Signed requests over connections that are kept, tried again within a deadline."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.request import getproxies, proxy_bypass

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from modelyard_client.errors import UnavailableError, UnexpectedAnswerError, of_answer

_CONNECT_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_CHUNK = 1 << 16


class Credentials(Protocol):
    """As botocore's sessions give them; those of roles renew themselves."""

    def get_frozen_credentials(self) -> Any:
        """Keys that belong together."""
        ...


class Transport:
    """Calls one function URL; may be shared by threads.

    Args:
        url: Of the function.
        credentials: Of the caller.
        region: Of the function.
        ca_bundle: File of authorities to trust.
        deadline_seconds: Of one call, pauses and all attempts included.
        max_attempts: Of one call.
        max_connections: Kept open; more than that are made and closed again.
        sleep: For tests.
        clock: Seconds; for tests.
    """

    def __init__(
        self,
        *,
        url: str,
        credentials: Credentials,
        region: str,
        ca_bundle: str,
        deadline_seconds: float,
        max_attempts: int,
        max_connections: int,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._credentials, self._region = url.rstrip("/"), credentials, region
        self._deadline_seconds, self._max_attempts = deadline_seconds, max_attempts
        self._sleep, self._clock = sleep, clock
        self._pool = _pool(self._url, ca_bundle, max_connections)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> bytes:
        """The body of the answer 200.

        A request may reach the function more than once: predictions change nothing, so that is harmless.

        Raises:
            ApiError: Another answer, or none within the deadline.
        """
        deadline = self._clock() + self._deadline_seconds
        pause = _FIRST_PAUSE
        attempt = 1
        while True:
            try:
                return self._once(method, path, body, content_type, deadline)
            except UnavailableError as error:
                wait = max(error.retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads
                if attempt == self._max_attempts or self._clock() + wait >= deadline:
                    raise
            self._sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)
            attempt += 1

    def _once(self, method: str, path: str, body: bytes | None, content_type: str, deadline: float) -> bytes:
        signed = self._signed(method, f"{self._url}{path}", body, content_type)
        left = max(0.001, deadline - self._clock())
        timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, left), read=left)
        try:
            answer = self._pool.request(
                method,
                f"{self._url}{path}",
                body=body,
                headers=signed,
                timeout=timeout,
                preload_content=False,
            )
            try:
                content = self._read(answer, deadline)
            finally:
                answer.release_conn()
        except urllib3.exceptions.SSLError as error:
            # No time makes a certificate right.
            raise UnexpectedAnswerError("no_answer", f"no trust in {self._url}: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError("no_answer", f"no answer from {self._url}: {error}") from error
        if answer.status == 200:
            return content
        raise of_answer(answer.status, answer.headers, content, datetime.now(UTC))

    def _read(self, answer: Any, deadline: float) -> bytes:
        parts: list[bytes] = []
        while part := answer.read1(_CHUNK):
            parts.append(part)
            if self._clock() > deadline:
                answer.close()
                raise UnavailableError("no_answer", f"{self._url} took too long to answer")
        return b"".join(parts)

    def _signed(self, method: str, url: str, body: bytes | None, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type} if content_type else {}
        request = AWSRequest(method, url, data=body, headers=headers)
        keys = self._credentials.get_frozen_credentials()
        SigV4Auth(keys, "lambda", self._region).add_auth(request)
        return dict(request.headers.items())


def _pool(url: str, ca_bundle: str, connections: int) -> urllib3.PoolManager:
    """TLS that checks, no retries and no redirects of urllib3's own, the environment's proxy."""
    parts = urllib3.util.parse_url(url)
    settings: dict[str, Any] = {
        "maxsize": connections,
        "retries": False,
        "ssl_context": ssl.create_default_context(cafile=ca_bundle),
    }
    proxy = getproxies().get(parts.scheme or "")
    if proxy and not proxy_bypass(parts.host or ""):
        return urllib3.ProxyManager(proxy, **settings)
    return urllib3.PoolManager(**settings)
