"""The instance metadata service of one host, version 2: tokens first.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localcloud.aws.errors import RoleNotAssumable
from localcloud.context import Credentials

_MOST_SECONDS = 21_600
_ROLE = "iam/security-credentials"
Answer = tuple[int, str]


class InstanceMetadata:
    """Answers what a host asks about itself, until `close`.

    Args:
        facts: by path below `/latest/meta-data/`, and `_account`; asked each time, since notices come late.
        role: name of the host's role, empty without one.
        credentials: of that role.
        tokens_required: whether version 1 is refused.
    """

    def __init__(
        self,
        *,
        facts: Callable[[], Mapping[str, str]],
        role: str,
        credentials: Callable[[], Credentials] | None,
        tokens_required: bool,
    ) -> None:
        self._facts, self._role, self._credentials = facts, role, credentials
        self._required = tokens_required
        self._tokens: dict[str, float] = {}
        self._server: ThreadingHTTPServer | None = None

    def serve(self, listening: socket.socket) -> None:
        """Answer on a socket that listens; its owner closes it."""
        self._server = _server(listening, self)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="instance-metadata").start()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def token(self, headers: Mapping[str, str]) -> Answer:
        """`PUT /latest/api/token`: a token for as many seconds as are asked for."""
        seconds = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= _MOST_SECONDS:
            return 400, "Bad Request"
        made = secrets.token_urlsafe(40)
        self._tokens[made] = time.monotonic() + int(seconds)
        return 200, made

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """An entry, or the names below a folder."""
        token = headers.get("x-aws-ec2-metadata-token")
        if token is None and self._required:
            return 401, "Unauthorized"
        if token is not None and self._tokens.get(token, 0.0) < time.monotonic():
            return 401, "Unauthorized"
        found = self._find(path.partition("?")[0])
        return (404, "Not Found") if found is None else (200, found)

    def _find(self, path: str) -> str | None:
        facts = dict(self._facts())
        account = facts.pop("_account", "")
        if path.rstrip("/") == "/latest/dynamic/instance-identity/document":
            return json.dumps(_identity(facts, account), indent=2)
        if not path.startswith("/latest/meta-data"):
            return None
        name = path.removeprefix("/latest/meta-data").strip("/")
        if self._role:
            facts[f"{_ROLE}/{self._role}"] = ""
        if self._role and name == f"{_ROLE}/{self._role}":
            return self._credentials_document()
        if name in facts:
            return facts[name]
        start = f"{name}/" if name else ""
        parts = (one[len(start) :].partition("/") for one in facts if one.startswith(start))
        # AWS marks folders so.
        below = {head + slash for head, slash, _ in parts}
        return "\n".join(sorted(below)) if below else None

    def _credentials_document(self) -> str:
        assert self._credentials is not None
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            found = self._credentials()
        except RoleNotAssumable as error:
            return json.dumps(
                {"Code": "AssumeRoleUnauthorizedAccess", "Message": error.message, "LastUpdated": moment}
            )
        ends = found.expiration.strftime("%Y-%m-%dT%H:%M:%SZ") if found.expiration else ""
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": moment,
                "Type": "AWS-HMAC",
                "AccessKeyId": found.access_key_id,
                "SecretAccessKey": found.secret_access_key,
                "Token": found.session_token or "",
                "Expiration": ends,
            },
            indent=2,
        )


def _plain(headers: Mapping[str, str] | Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _identity(facts: Mapping[str, str], account: str) -> dict[str, Any]:
    return {
        "accountId": account,
        "availabilityZone": facts["placement/availability-zone"],
        "imageId": facts["ami-id"],
        "instanceId": facts["instance-id"],
        "instanceType": facts["instance-type"],
        "privateIp": facts["local-ipv4"],
        "region": facts["placement/region"],
        "version": "2017-09-30",
    }


def _server(listening: socket.socket, service: InstanceMetadata) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_PUT(self) -> None:
            known = self.path == "/latest/api/token"
            self._send(service.token(_plain(self.headers)) if known else (404, "Not Found"))

        def do_GET(self) -> None:
            self._send(service.get(self.path, _plain(self.headers)))

        def _send(self, answer: Answer) -> None:
            body = answer[1].encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            """Nothing to log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening.dup()
    server.daemon_threads = True
    return server
