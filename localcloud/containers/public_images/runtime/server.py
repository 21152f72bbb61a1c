"""SageMaker's contract for servers: `/ping`, `/invocations`, `/execution-parameters`, `/models`.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import handlers
from .environment import base_folder
from .handlers import Answer

MAX_MEGABYTES = 6


class Models:
    """The models that the server holds: one, or those that it is told to load."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[str, handlers.Model]] = {}
        self._lock = threading.Lock()

    def load(self, name: str, url: str) -> Answer:
        """Load a model from a folder."""
        with self._lock:
            if name in self._models:
                return Answer(409, b"Model already loaded.")
            try:
                self._models[name] = url, handlers.load(Path(url))
            except Exception as error:
                traceback.print_exc()
                return Answer(500, f"{type(error).__name__}: {error}".encode())
        return Answer(200, b"{}", "application/json")

    def forget(self, name: str) -> Answer:
        """Unload a model."""
        with self._lock:
            found = self._models.pop(name, None)
        return Answer(200, b"{}", "application/json") if found else Answer(404, b"Model not found.")

    def listing(self) -> list[dict[str, str]]:
        """What is loaded."""
        with self._lock:
            return [{"modelName": name, "modelUrl": url} for name, (url, _) in self._models.items()]

    def answer(self, name: str, body: bytes, content_type: str, accept: str) -> Answer:
        """Have a model answer."""
        with self._lock:
            found = self._models.get(name)
        if found is None:
            return Answer(404, b"Model not found.")
        try:
            return found[1].answer(body, content_type, accept)
        except Exception as error:
            traceback.print_exc()
            return Answer(500, f"{type(error).__name__}: {error}".encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "aws-images"
    models: Models
    several: bool

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._send(Answer(200, b""))
        elif self.path == "/execution-parameters":
            offered = {
                "MaxConcurrentTransforms": os.cpu_count() or 1,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": MAX_MEGABYTES,
            }
            self._send_json(offered)
        elif self.several and self.path.split("?")[0] == "/models":
            self._send_json({"models": self.models.listing()})
        elif self.several and self.path.startswith("/models/"):
            name = self.path.removeprefix("/models/")
            found = [entry for entry in self.models.listing() if entry["modelName"] == name]
            self._send_json(found[0]) if found else self._send(Answer(404, b"Model not found."))
        else:
            self._send(Answer(404, b""))

    def do_POST(self) -> None:
        body = self._body()
        parts = self.path.strip("/").split("/")
        if parts == ["invocations"] and not self.several:
            self._send(self._ask("", body))
        elif self.several and parts == ["models"]:
            request = json.loads(body)
            self._send(self.models.load(request["model_name"], request["url"]))
        elif self.several and len(parts) == 3 and (parts[0], parts[2]) == ("models", "invoke"):
            self._send(self._ask(parts[1], body))
        else:
            self._send(Answer(404, b""))

    def do_DELETE(self) -> None:
        self._body()
        name = self.path.removeprefix("/models/")
        self._send(self.models.forget(name) if self.several else Answer(404, b""))

    def _ask(self, name: str, body: bytes) -> Answer:
        return self.models.answer(
            name, body, self.headers.get("Content-Type", ""), self.headers.get("Accept", "")
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(content)

    def _send_json(self, value: Any) -> None:
        self._send(Answer(200, json.dumps(value).encode(), "application/json"))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ARG002 - the base's names
        if self.path != "/ping":
            sys.stderr.write(f"{self.command} {self.path} {arguments[1] if len(arguments) > 1 else ''}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve() -> int:
    """Load the model, unless models come on demand, and answer until ended. Returns the exit code."""
    models = Models()
    several = os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    if not several:
        answer = models.load("", str(base_folder() / "model"))
        if answer.status != 200:
            sys.stderr.write(answer.body.decode() + "\n")
            return 1
    handler = type("Handler", (_Handler,), {"models": models, "several": several})
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    with _Server(("127.0.0.1", port), handler) as server:
        server.serve_forever()
    return 0
