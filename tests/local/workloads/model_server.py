"""A tiny model server, single- and multi-model, on the standard library. Lives in the tests' image."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
CAPACITY = int(os.environ.get("CAPACITY", "2"))
LOADED: dict[str, str] = {}
READY = time.monotonic() + float(os.environ.get("READY_AFTER", "0"))


def say(*words):
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", content_type="text/plain", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/ping":
            self.answer(503 if time.monotonic() < READY else int(os.environ.get("PING", "200")))
        elif self.path == "/execution-parameters":
            parameters = {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}
            self.answer(200, json.dumps(parameters).encode(), "application/json")
        else:
            self.answer(404)

    def do_DELETE(self):
        LOADED.pop(self.path.removeprefix("/models/"), None)
        say("unloaded", self.path)
        self.answer(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/models":
            request = json.loads(body)
            if len(LOADED) >= CAPACITY:
                return self.answer(507)
            LOADED[request["model_name"]] = (Path(request["url"]) / "name.txt").read_text()
            say("loaded", LOADED[request["model_name"]])
            return self.answer(200)
        if self.path == "/invocations":
            model = BASE / "model" / "name.txt"
            name = model.read_text() if model.exists() else "none"
        else:
            name = LOADED.get(self.path.split("/")[2])
            if name is None:
                return self.answer(404, b"not loaded")
        return self.predict(name, body)

    def predict(self, name, body):
        if time.monotonic() < READY:
            return self.answer(500, b"not ready")
        if body == b"crash" or os.environ.get("CRASH"):
            os._exit(9)
        if body.startswith(b"sleep"):
            time.sleep(float(body[5:]))
        if body == b"fail":
            return self.answer(500, b"model is broken")
        if body == b"refuse":
            return self.answer(400, b"bad row")
        if name == "broken":
            return self.answer(500, b"model is broken")
        if self.headers.get("Content-Type") == "application/json":
            predictions = [[name, row] for row in json.loads(body)["instances"]]
            return self.answer(200, json.dumps({"predictions": predictions}).encode(), "application/json")
        who = os.environ.get("WHO", "")
        lines = [f"{name}{who}:{line}" for line in body.decode().split("\n")]
        attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
        return self.answer(
            200,
            "\n".join(lines).encode(),
            self.headers.get("Accept", "text/plain"),
            X_Amzn_SageMaker_Custom_Attributes=attributes,
        )


def end(*_):
    time.sleep(float(os.environ["ENDS_AFTER"]))
    os._exit(0)


if "ENDS_AFTER" in os.environ:
    signal.signal(signal.SIGTERM, end)

say("listening")
address = (os.environ["UVICORN_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
ThreadingHTTPServer(address, Handler).serve_forever()
