"""HTTP to a server on loopback, over connections that stay open."""

from __future__ import annotations

import http.client
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

_MAX_IDLE = 64
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreachable(ConnectionError):
    """No answer: refused, reset, or ended in the middle."""


class Pool:
    """Connections to one port of 127.0.0.1; safe for many threads.

    Example:
        >>> Pool(8080).request("GET", "/ping", timeout=2).status
        200
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> Answer:
        """One request.

        Args:
            timeout: seconds without a byte.

        Raises:
            TimeoutError: no answer in time.
            Unreachable: the connection failed.
        """
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            reused = connection is not None
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port)
            try:
                return self._exchange(connection, method, path, body, headers or {}, timeout)
            except TimeoutError:
                connection.close()
                raise
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                # A server may close an idle connection at any time; that request it has not seen.
                if reused and isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                    continue
                raise Unreachable(str(error) or type(error).__name__) from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Answer:
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, path, body=body, headers=dict(headers))
        if _QUICK_ACK is not None and connection.sock is not None:
            # A server that writes headers and body apart waits for the acknowledgement of the first, which
            # the kernel would delay by 40 ms. The option holds for this answer only.
            connection.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        response = connection.getresponse()
        content = response.read()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                if len(self._idle) < _MAX_IDLE:
                    self._idle.append(connection)
                else:
                    connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()
