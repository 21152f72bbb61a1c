"""The model server as a process, asked over sockets for what nobody should ask.

Some hundred cases each time; with FUZZ_CASES=10000 in the environment as many, in equal parts to each kind of
server: of one model, of rows or of images, and of several, of several libraries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from localcloud.sagemaker.hosting.ports import Port
from tests.unit.classification.conftest import ARGUMENTS, train
from tests.unit.fuzz_report import report
from tests.unit.fuzz_server import Answer, Case, complaint, talk
from tests.unit.fuzz_server_bodies import KEPT, Served
from tests.unit.fuzz_server_cases import cases
from training.common.manifest import disagreement, read_manifest

CASES = int(os.environ.get("FUZZ_CASES", "400"))
RECEIVE_S = 1
# With the libraries that it needs.
FIRST_LOAD_S = 300.0
PING = Case((b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",), must_answer=1)
# Of the interpreter, which keeps what large bodies took once; it does not grow with the number of cases.
MOST_GROWTH = 400 * 1024**2
ROOT = Path(__file__).resolve().parents[3]
SINGLE = ""
KINDS = [
    "a model of rows",
    "models of rows",
    pytest.param("a model of images", marks=pytest.mark.torch),
    pytest.param("models of both", marks=pytest.mark.torch),
]
ALGORITHMS = ("xgboost", "lightgbm", "logistic-regression")


class Running:
    """A server of its own process, on a folder of its own; `models` by name, SINGLE for that of a server of
    one model."""

    def __init__(self, root: Path, models: dict[str, Path]) -> None:
        self.multi_model = SINGLE not in models
        self.folders = {
            name: root / "models" / name / "model" if self.multi_model else root / "model" for name in models
        }
        for name, model in models.items():
            shutil.copytree(model, self.folders[name])
        if self.multi_model:
            broken = shutil.copytree(self.folders["a"], root / "models" / "b" / "model")
            (broken / "manifest.json").write_text('{"schema": 1')
            (root / "models" / "c").mkdir()
            (root / "models" / "c" / "model").symlink_to("/etc")
        self.golden = {name: read_manifest(folder).golden for name, folder in self.folders.items()}
        self.log = (root / "log").open("w+b")
        self._held = Port()
        self.port = self._held.number
        largest = max(
            sum(path.stat().st_size for path in folder.iterdir()) for folder in self.folders.values()
        )
        variables = {
            "SAGEMAKER_BASE_DIR": str(root),
            "SAGEMAKER_MULTI_MODEL": str(self.multi_model).lower(),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SERVING_RECEIVE_SECONDS": str(RECEIVE_S),
            # Room for a few of the models, so that some loads are told 507.
            "SERVING_MODEL_BYTES": str(12 * largest),
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
        if self.multi_model:
            self.load("a")

    @property
    def served(self) -> list[Served]:
        """What may be asked of each model."""
        return [
            Served((*3 * [self._route(name)], "/invocations"), [dict(row) for row in golden.instances])
            for name, golden in self.golden.items()
        ]

    def _route(self, name: str) -> str:
        return f"/models/{name}/invoke" if self.multi_model else "/invocations"

    def _wait(self) -> None:
        deadline = time.monotonic() + FIRST_LOAD_S
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
        (answer,) = talk(self.port, Case((head.encode() + body,)), FIRST_LOAD_S)
        return answer

    def load(self, name: str) -> Answer:
        """The only model afterwards."""
        for other in KEPT:  # which may have taken the room
            self.exchange("DELETE", f"/models/{other}", None)
        return self.exchange("POST", "/models", {"model_name": name, "url": f"/opt/ml/models/{name}/model"})

    def check_predictions(self) -> None:
        """Each model is served, and predicts what it did when it was trained."""
        for name, golden in self.golden.items():
            if self.multi_model:
                assert self.load(name).status == 200, self.said()
            rows = [dict(row) for row in golden.instances]
            answer = self.exchange("POST", self._route(name), {"instances": rows})
            assert answer.status == 200, (answer, self.said())
            assert disagreement(golden, json.loads(answer.body)["predictions"]) is None

    def handles(self) -> int:
        return psutil.Process(self.process.pid).num_fds()

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(120) == 0, self.said()
        self._held.release()
        self.log.close()


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """Model folders, by algorithm."""
    return {name: train(tmp_path_factory.mktemp(name), name, ARGUMENTS).root / "model" for name in ALGORITHMS}


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    from tests.unit.vision.vision_support import draw_folders, train_small

    root = tmp_path_factory.mktemp("images")
    draw_folders(root / "raw", 20)
    return train_small(root / "trained", root / "raw", epochs=1).root / "model"


@pytest.fixture(scope="module", params=KINDS)
def server(request, trained, tmp_path_factory):
    rows, find = trained.root / "model", request.getfixturevalue
    if request.param == "a model of rows":
        models = {SINGLE: rows}
    elif request.param == "a model of images":
        models = {SINGLE: find("of_images")}
    else:
        models = {"a": rows, **dict(zip("def", find("classifiers").values(), strict=True))}
        if request.param == "models of both":
            models |= dict.fromkeys("adg", find("of_images"))
    running = Running(tmp_path_factory.mktemp("fuzzed"), models)
    try:
        yield running
        running.check_predictions()
    finally:
        running.close()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_whatever_is_sent_the_server_answers_clearly_or_closes_and_lives_on(server, request):
    server.check_predictions()
    before = server.handles(), server.memory()
    began, seen = time.monotonic(), Counter[int]()
    count = CASES // len(KINDS)

    @seed(20261121)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=[Phase.generate],  # a case is small enough to be read as it is, and shrinking takes minutes
    )
    @given(cases(server.served))
    def sent(case: Case) -> None:
        found = talk(server.port, case)
        assert complaint(case, found) is None, (complaint(case, found), server.said())
        for answer in found:
            seen[answer.status] += 1
        assert server.process.poll() is None, server.said()

    sent()
    assert complaint(PING, talk(server.port, PING)) is None
    server.check_predictions()
    report(f"model server, {request.node.callspec.id}", count, began, seen)
    # Connections that were left open are cut in RECEIVE_S.
    deadline = time.monotonic() + 10 * RECEIVE_S
    while server.handles() > before[0] + 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.handles() <= before[0] + 8
    assert server.memory() - before[1] < MOST_GROWTH
    assert {200, 400, 404} <= seen.keys()
