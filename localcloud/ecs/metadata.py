"""The task metadata endpoint, version 4: where a container learns what it is.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Look = Callable[[], dict[str, Any]]


class MetadataServer:
    """Serves on loopback from the first offer on. Every container has a path of its own, which is secret.

    Example:
        >>> variables, token = server.offer(task, "main")
        >>> server.withdraw(token)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offers: dict[str, tuple[Look, str]] = {}
        self._server: ThreadingHTTPServer | None = None

    def offer(self, look: Look, container: str) -> tuple[dict[str, str], str]:
        """The variable that a container finds its metadata by, and what to withdraw.

        Args:
            look: the record of the task as it is now.
            container: its name.
        """
        token = secrets.token_urlsafe(24)
        with self._lock:
            if self._server is None:
                self._server = _listen(self._answer)
            self._offers[token] = (look, container)
            port = self._server.server_port
        return {"ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{port}/v4/{token}"}, token

    def withdraw(self, token: str) -> None:
        """The container has ended."""
        with self._lock:
            self._offers.pop(token, None)

    def close(self) -> None:
        """Stop serving."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _answer(self, path: str) -> dict[str, Any] | None:
        token, _, part = path.removeprefix("/v4/").partition("/")
        with self._lock:
            look, container = self._offers.get(token, (None, ""))
        if look is None or part not in ("", "task"):
            return None
        task = look()
        return task_metadata(task) if part else _container(task, container)


def task_metadata(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task's record as the endpoint tells it."""
    family, _, revision = task["_definition"].rpartition(":")
    times = {"PullStartedAt": "pullStartedAt", "PullStoppedAt": "pullStoppedAt"}
    service = task["group"].removeprefix("service:") if task["group"].startswith("service:") else ""
    return {
        "Cluster": task["clusterArn"],
        "TaskARN": task["taskArn"],
        "Family": family,
        "Revision": revision,
        "DesiredStatus": task["desiredStatus"],
        "KnownStatus": task["lastStatus"],
        "Limits": {"CPU": int(task["cpu"]) / 1024, "Memory": int(task["memory"])},
        "AvailabilityZone": task["availabilityZone"],
        "LaunchType": task["launchType"],
        **{name: _timed(task[member]) for name, member in times.items() if member in task},
        **({"ServiceName": service} if service else {}),
        "Containers": [_container(task, each["name"]) for each in task["containers"]],
    }


def _container(task: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = next(each for each in task["containers"] if each["name"] == name)
    family, _, revision = task["_definition"].rpartition(":")
    labels = {
        "com.amazonaws.ecs.cluster": task["clusterArn"],
        "com.amazonaws.ecs.container-name": name,
        "com.amazonaws.ecs.task-arn": task["taskArn"],
        "com.amazonaws.ecs.task-definition-family": family,
        "com.amazonaws.ecs.task-definition-version": revision,
    }
    interfaces = found["networkInterfaces"]
    addresses = [each["privateIpv4Address"] for each in interfaces] or [task["_address"]]
    return {
        "DockerId": found.get("runtimeId", ""),
        "Name": name,
        "DockerName": name,
        "Image": found["image"],
        "ImageID": found.get("imageDigest", ""),
        "Labels": labels,
        "DesiredStatus": task["desiredStatus"],
        "KnownStatus": found["lastStatus"],
        "CreatedAt": _timed(task["createdAt"]),
        "Type": "NORMAL",
        "ContainerARN": found["containerArn"],
        "Networks": [{"NetworkMode": "awsvpc" if interfaces else "bridge", "IPv4Addresses": addresses}],
    }


def _timed(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listen(answer: Callable[[str], dict[str, Any] | None]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            content = answer(self.path)
            body = json.dumps(content or {"message": "unknown container"}).encode()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            """Paths are secret: nothing to log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, name="task-metadata").start()
    return server
