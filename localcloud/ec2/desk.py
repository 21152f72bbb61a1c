"""Where a host's agent and programs ask the cloud for what only the cloud can do.

Lines of JSON on a socket of the host's network. The first says who asks; a program gets lines of output and
then its exit code, the agent keeps its connection.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)
Say = Callable[..., None]
# Of a program: its name, its arguments, what it was given, and how to print; the exit code.
Program = Callable[[str, list[str], str, Say], int]
AGENT = "agent"


class Desk:
    """Serves until `close`.

    Args:
        token: what all who ask must know.
        run: what a program does.
        hear: what the agent says, message by message; called in one thread.
        user_data: of the host, in base64: the first thing that the agent is told.
    """

    def __init__(
        self, token: str, *, run: Program, hear: Callable[[dict[str, Any]], None], user_data: str
    ) -> None:
        self._token, self._run, self._hear, self._user_data = token, run, hear, user_data
        self._agent: socket.socket | None = None
        self._listening: socket.socket | None = None
        self._lock = threading.Lock()

    def serve(self, listening: socket.socket) -> None:
        """Answer on a socket that listens; its owner closes it."""
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True, name="host-desk").start()

    def tell_agent(self, **message: Any) -> None:
        """Send the agent a line; OSError when it is gone."""
        with self._lock:
            if self._agent is None:
                raise ConnectionError("the host's agent is not there")
            self._agent.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Answer no more."""
        for one in (self._listening, self._agent):
            if one is not None:
                # Also wakes the thread that waits on it, which closing alone does not.
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            lines = connection.makefile("r", encoding="utf-8")
            request = json.loads(lines.readline())
            # As bytes: it takes text of ASCII alone.
            given = str(request.get("token", "")).encode(errors="replace")
            if not hmac.compare_digest(given, self._token.encode()):
                return
            if request["program"] == AGENT:
                self._serve_agent(connection, lines)
            else:
                self._serve_program(connection, request)

    def _serve_agent(self, connection: socket.socket, lines: Any) -> None:
        with self._lock:
            self._agent = connection
        self.tell_agent(user_data=self._user_data)
        try:
            for line in lines:
                self._hear(json.loads(line))
        finally:
            with self._lock:
                self._agent = None

    def _serve_program(self, connection: socket.socket, request: dict[str, Any]) -> None:
        def say(**message: Any) -> None:
            # Whoever asked may be gone; what was asked for goes on, as with Docker's daemon.
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(message).encode() + b"\n")

        try:
            code = self._run(request["program"], request["arguments"], request["stdin"], say)
        except Exception as error:
            _log.exception("%s of a host failed", request["program"])
            say(err=f"{request['program']}: the local cloud failed: {error!r}\n")
            code = 1
        say(code=code)
