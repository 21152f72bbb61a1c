"""The model server as a process, asked over sockets for what nobody should ask.

Some hundred cases each time; with FUZZ_CASES=10000 in the environment as many, half of them to each kind of
server.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.unit.fuzz_server import Answer, Case, complaint, talk
from tests.unit.fuzz_server_cases import KEPT, cases

CASES = int(os.environ.get("FUZZ_CASES", "400"))
RECEIVE_S = 1
PING = Case((b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",), must_answer=1)
# Of the interpreter, which keeps what large bodies took once; it does not grow with the number of cases.
MOST_GROWTH = 400 * 1024**2
ROOT = Path(__file__).resolve().parents[3]


class Running:
    """A server of its own process, on a folder of its own."""

    def __init__(self, root: Path, model: Path, *, multi_model: bool) -> None:
        for place in [root / "models" / name / "model" for name in KEPT] if multi_model else [root / "model"]:
            shutil.copytree(model, place)
        if multi_model:
            (root / "models" / "b" / "model" / "manifest.json").write_text('{"schema": 1')
            shutil.rmtree(root / "models" / "c" / "model")
            (root / "models" / "c" / "model").symlink_to("/etc")
        golden = json.loads((model / "manifest.json").read_text())["golden"]
        self.rows, self.expected = golden["instances"], golden["predictions"]
        self.multi_model = multi_model
        self.log = (root / "log").open("w+b")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        variables = {
            "SAGEMAKER_BASE_DIR": str(root),
            "SAGEMAKER_MULTI_MODEL": str(multi_model).lower(),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SERVING_RECEIVE_SECONDS": str(RECEIVE_S),
            # Room for a few of the models, so that some loads are told 507.
            "SERVING_MODEL_BYTES": str(8 * sum(path.stat().st_size for path in model.iterdir())),
            "UVICORN_HOST": "127.0.0.1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "training.container", "serve"],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=self.log,
            stderr=self.log,
        )
        self._wait()
        if multi_model:
            self.exchange("POST", "/models", {"model_name": "a", "url": "/opt/ml/models/a/model"})

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                talk(self.port, PING)
            except OSError:
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.05)
            else:
                return

    def said(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text(errors="replace")[-3000:]

    def exchange(self, method: str, path: str, document: object) -> Answer:
        body = json.dumps(document).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        (answer,) = talk(self.port, Case((head.encode() + body,)))
        return answer

    def still_predicts(self) -> bool:
        path = "/invocations"
        if self.multi_model:
            path = "/models/a/invoke"
            for name in KEPT:  # which may have taken the room
                self.exchange("DELETE", f"/models/{name}", None)
            self.exchange("POST", "/models", {"model_name": "a", "url": "/opt/ml/models/a/model"})
        answer = self.exchange("POST", path, {"instances": self.rows})
        return answer.status == 200 and json.loads(answer.body)["predictions"] == pytest.approx(
            self.expected, abs=1e-3
        )

    def handles(self) -> int:
        return psutil.Process(self.process.pid).num_fds()

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0, self.said()
        self.log.close()


@pytest.fixture(scope="module", params=["single model", "multi-model"])
def server(request, trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzzed")
    running = Running(root, trained.root / "model", multi_model=request.param == "multi-model")
    try:
        yield running
        assert running.still_predicts()
    finally:
        running.close()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_whatever_is_sent_the_server_answers_clearly_or_closes_and_lives_on(server):
    before = server.handles(), server.memory()
    seen: dict[int, int] = {}

    @seed(20261121)
    @settings(
        max_examples=CASES // 2,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=[Phase.generate],  # a case is small enough to be read as it is, and shrinking takes minutes
    )
    @given(cases(server.rows))
    def sent(case: Case) -> None:
        found = talk(server.port, case)
        assert complaint(case, found) is None, (complaint(case, found), server.said())
        for answer in found:
            seen[answer.status] = seen.get(answer.status, 0) + 1
        assert server.process.poll() is None, server.said()

    sent()
    assert complaint(PING, talk(server.port, PING)) is None
    assert server.still_predicts()
    logging.getLogger(__name__).info(
        "%d cases, answers by status: %s", CASES // 2, dict(sorted(seen.items()))
    )
    # Connections that were left open are cut in RECEIVE_S.
    deadline = time.monotonic() + 10 * RECEIVE_S
    while server.handles() > before[0] + 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.handles() <= before[0] + 8
    assert server.memory() - before[1] < MOST_GROWTH
    assert {200, 400, 404} <= seen.keys()
