"""Hands containers the credentials of their role, as the agents on AWS's container hosts do.

Every container has a path and a token of its own, and asks again before its credentials end.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localcloud.aws.errors import RoleNotAssumable
from localcloud.context import Credentials

Source = Callable[[], Credentials]


class CredentialServer:
    """Serves on loopback from the first offer on.

    Example:
        >>> environment = server.offer("container-1", session)
        >>> server.withdraw("container-1")
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offers: dict[str, tuple[str, Source]] = {}
        self._server: ThreadingHTTPServer | None = None

    def offer(self, name: str, source: Source) -> dict[str, str]:
        """Variables with which every AWS SDK in the container gets what `source` returns.

        Args:
            name: of the container, unique.
            source: asked for every request, in another thread.
        """
        token = secrets.token_urlsafe(32)
        with self._lock:
            if self._server is None:
                self._server = _listen(self._answer)
            self._offers[name] = (token, source)
            port = self._server.server_port
        return {
            # Without TLS, since SDKs do not trust the cloud's own authority for this request.
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v2/credentials/{name}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        }

    def withdraw(self, name: str) -> None:
        """The container has ended; without an offer nothing happens."""
        with self._lock:
            self._offers.pop(name, None)

    def close(self) -> None:
        """Stop serving."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _answer(self, path: str, token: str) -> tuple[int, dict[str, str]]:
        with self._lock:
            expected, source = self._offers.get(path.removeprefix("/v2/credentials/"), ("", None))
        if source is None or not hmac.compare_digest(token.encode(), expected.encode()):
            return 401, {"code": "AccessDenied", "message": "No credentials for this path and token."}
        try:
            found = source()
        except RoleNotAssumable as error:
            return 400, {"code": "RoleNotAssumable", "message": error.message}
        answer = {
            "AccessKeyId": found.access_key_id,
            "SecretAccessKey": found.secret_access_key,
            "Token": found.session_token or "",
        }
        if found.expiration is not None:
            answer["Expiration"] = found.expiration.strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, answer


def _listen(answer: Callable[[str, str], tuple[int, dict[str, str]]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            status, content = answer(self.path, self.headers.get("Authorization", ""))
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            """Paths name containers, and their tokens are secret: nothing to log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, name="container-credentials").start()
    return server
