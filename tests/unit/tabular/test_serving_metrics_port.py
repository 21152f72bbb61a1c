"""The metrics' port of a server process, as the image of the endpoint sets it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcloud.sagemaker.hosting.ports import Port

REPO = Path(__file__).resolve().parents[3]
VARIABLE = "SERVING_METRICS_PORT"


class Server:
    """A server process without models; `log`: what it said before it served, all of it after `stop`."""

    def __init__(self, root, **variables):
        self.held = Port()
        self.port = self.held.number
        environment = {
            "SAGEMAKER_BASE_DIR": str(root),
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "UVICORN_HOST": "127.0.0.1",
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "training.container", "serve"],
            cwd=REPO,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = []
        for line in self.process.stdout:
            self.log.append(line)
            if line.startswith("serving on "):
                break
        else:
            pytest.fail(f"the server ended: {self.log}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=180)
        self.log += output.splitlines(keepends=True)
        return self.process.returncode


@contextmanager
def started(root, **variables):
    server = Server(root, **variables)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
        server.held.release()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=180)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_server_process_tells_its_metrics(tmp_path):
    held = Port()
    metrics_port = held.number
    with started(tmp_path, **{VARIABLE: str(metrics_port)}) as server:
        assert get(server.port, "/ping") == (200, "")
        status, text = get(metrics_port, "/metrics")
        assert status == 200
        assert 'serving_requests_total{route="ping",status="200"} 1\n' in text
        assert "\nserving_models_loaded 0\n" in text
        assert get(metrics_port, "/ping")[0] == 404
        assert get(server.port, "/metrics")[0] == 404
        assert server.stop() == 0
    held.release()


def test_a_metrics_port_in_use_costs_the_metrics_only(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(tmp_path, **{VARIABLE: str(port)}) as server:
            assert get(server.port, "/ping") == (200, "")
            assert server.stop() == 0
    (line,) = [json.loads(line) for line in server.log if line.startswith("{")]
    assert (line["event"], f"port {port}" in line["error"]) == ("metrics", True)
    assert "Traceback" not in "".join(server.log)


def test_the_image_of_the_endpoint_switches_them_on():
    text = (REPO / "training" / "serving.Dockerfile").read_text()
    (port,) = re.findall(rf"^ENV .*?\b{VARIABLE}=(\d+)", text.replace("\\\n", " "), re.MULTILINE)
    assert (
        f"| `{VARIABLE}` | off; {port} in the endpoint's image |"
        in (REPO / "training" / "README.md").read_text()
    )
