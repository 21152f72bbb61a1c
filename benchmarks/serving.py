"""What a served prediction costs: our multi-model server and others against the model in process.

A model of 100 trees, one row a request, 16 requests in flight, one worker. The server has one core and the
client another. In turn, many times: the model in process on the server's core (`Booster.inplace_predict`, one
row a call, nothing around it), then each server; servers whose turn it is not are stopped, so that none takes
time from another. Peers need `python3 tools/setup.py peers`; they serve a single model, ours is one of many.
Whether the client is the bottleneck is measured: its share of its core beside each server, and what it
reaches against a responder that does nothing. `share_per_cpu_second` is the same share by CPU time instead of
wall time: on a quiet machine the two agree, on a busy one it is the one to trust.

Bounds: ours at least 60 % of in process, p99 at most 5 times p50, and at least twice every peer.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import ROOT
from benchmarks.load import Window, exchange, load, post
from training.common.boosting import xgboost
from training.common.encoder import Encoder
from training.common.features import Feature
from training.common.manifest import Golden, Manifest
from training.tabular.train import write_model

SHARE, P99_TO_P50, TIMES_PEERS = 0.6, 5.0, 2.0
CLIENT_CPU = 0.9  # above this the client may be what limits
TREES, DEPTH, FEATURES = 100, 6, 20
CONNECTIONS = 16
ROUNDS = 9
SECONDS = 1.0
WARM_UP_SECONDS = 8.0  # Java compiles what is called often
PEERS = ROOT / ".venv-peers" / "bin" / "python"
OURS, RESPONDER = "modelyard", "(does nothing)"
NAME = "bench"


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of one server: what the client saw, and its requests by second of the server's CPU time."""

    window: Window
    per_cpu_second: float


@dataclass(frozen=True, slots=True)
class Plain:
    """One round of the model in process: calls by second of wall time, and of CPU time."""

    per_second: float
    per_cpu_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a server is started, and the request that it is asked with."""

    command: tuple[str, ...]
    path: str
    body: bytes
    environment: Mapping[str, str]
    port: int
    before: Callable[[], object] = lambda: None


def measure() -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("needs two cores, one for the server and one for the client")
    server_core, client_core = cores[:2]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        row = make_model(Path(folder))
        servers = {**_ours(Path(folder), row), **_peers(Path(folder), row)}
        predictions: dict[str, float] = {}
        processes = {}
        for name, server in servers.items():
            processes[name] = stack.enter_context(running(server, server_core))
            if name != RESPONDER:
                predictions[name] = _prediction(exchange(server.port, _request(server)))
            os.killpg(processes[name].pid, signal.SIGSTOP)
        try:
            in_process, turns = _rounds(Path(folder), row, servers, processes, server_core, client_core)
        finally:
            os.sched_setaffinity(0, cores)
    expected = predictions[OURS]
    wrong = [name for name, value in predictions.items() if abs(value - expected) > 1e-4]
    if wrong:
        raise RuntimeError(f"{', '.join(wrong)} predicts something else than ours: {predictions}")
    return {**summary(in_process, turns), "not_measured": missing_peers()}


def _rounds(
    folder: Path,
    row: np.ndarray[Any, Any],
    servers: Mapping[str, Server],
    processes: Mapping[str, subprocess.Popen[bytes]],
    server_core: int,
    client_core: int,
) -> tuple[list[Plain], dict[str, list[Turn]]]:
    booster = xgboost.Booster(
        {"nthread": 1}, model_file=str(folder / "models" / NAME / "model" / "model.ubj")
    )
    in_process: list[Plain] = []
    turns: dict[str, list[Turn]] = {name: [] for name in servers}
    for number in range(-1, ROUNDS):
        os.sched_setaffinity(0, {server_core})
        plain = _in_process(booster, row)
        os.sched_setaffinity(0, {client_core})
        if number >= 0:
            in_process.append(plain)
        for name, server in servers.items():
            before = _cpu_seconds(processes[name].pid)
            os.killpg(processes[name].pid, signal.SIGCONT)
            try:
                seconds = SECONDS if number >= 0 else WARM_UP_SECONDS
                window = load(server.port, _request(server), connections=CONNECTIONS, seconds=seconds)
            finally:
                os.killpg(processes[name].pid, signal.SIGSTOP)
            cpu = _cpu_seconds(processes[name].pid) - before
            if number >= 0:
                turns[name].append(Turn(window, window.requests / max(cpu, 0.01)))
    return in_process, turns


def _in_process(booster: Any, row: np.ndarray[Any, Any]) -> Plain:
    count, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < SECONDS:
        booster.inplace_predict(row, validate_features=False)
        count += 1
    return Plain(count / (time.perf_counter() - started), count / (time.process_time() - cpu))


def _cpu_seconds(pid: int) -> float:
    """CPU time so far of the server's process and all that it started."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def summary(in_process: Sequence[Plain], turns: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """Medians over the rounds; a share is the median of the rounds' own shares."""
    rows = [_row(name, in_process, found) for name, found in turns.items()]
    servers = [row for row in rows if row["server"] != RESPONDER]
    (ours,) = [row for row in servers if row["ours"]]
    best = max((row["share_of_in_process"] for row in servers if not row["ours"]), default=None)
    times = round(ours["share_of_in_process"] / best, 2) if best else None
    return {
        "in_process_per_second": round(statistics.median(plain.per_second for plain in in_process)),
        "servers": servers,
        "client_ceiling_per_second": next(row["per_second"] for row in rows if row["server"] == RESPONDER),
        "client_limits": ours["client_cpu_share"] > CLIENT_CPU,
        "p99_to_p50": round(ours["p99_ms"] / ours["p50_ms"], 2),
        "times_best_peer": times,
        "bounds": {"share": SHARE, "p99_to_p50": P99_TO_P50, "times_best_peer": TIMES_PEERS},
        "rounds": len(in_process),
        "holds": ours["share_of_in_process"] >= SHARE
        and ours["p99_ms"] <= P99_TO_P50 * ours["p50_ms"]
        and (times is None or times >= TIMES_PEERS),
    }


def _row(name: str, in_process: Sequence[Plain], turns: Sequence[Turn]) -> dict[str, Any]:
    pairs = list(zip(turns, in_process, strict=True))
    shares = [turn.window.per_second / plain.per_second for turn, plain in pairs]
    by_cpu = [turn.per_cpu_second / plain.per_cpu_second for turn, plain in pairs]
    windows = [turn.window for turn in turns]
    return {
        "server": name,
        "share_of_in_process": round(statistics.median(shares), 3),
        "share_min": round(min(shares), 3),
        "share_max": round(max(shares), 3),
        "share_per_cpu_second": round(statistics.median(by_cpu), 3),
        "per_second": round(statistics.median(window.per_second for window in windows)),
        "p50_ms": round(statistics.median(window.p50_ms for window in windows), 3),
        "p99_ms": round(statistics.median(window.p99_ms for window in windows), 3),
        "client_cpu_share": round(statistics.median(window.client_cpu for window in windows), 2),
        "ours": name == OURS,
    }


def make_model(folder: Path, trees: int = TREES) -> np.ndarray[Any, Any]:
    """Write a model as SageMaker unpacks it below `folder`; returns a row for it, float32 (1, features)."""
    chance = np.random.default_rng(7)
    matrix = chance.normal(size=(4000, FEATURES)).astype(np.float32)
    target = matrix[:, 0] * 2 + matrix[:, 1] ** 2 + matrix[:, 2] * matrix[:, 3] + chance.normal(size=4000)
    booster = xgboost.train(
        {"max_depth": DEPTH, "eta": 0.1, "nthread": 1}, xgboost.DMatrix(matrix, label=target), trees
    )
    features = tuple(Feature(f"feature_{number}", "numeric") for number in range(FEATURES))
    manifest = Manifest(
        framework="xgboost",
        framework_version=xgboost.__version__,
        model="model.ubj",
        encoder="encoder.json",
        features=features,
        golden=Golden(instances=(instance(matrix[:1]),), predictions=()),
    )
    place = folder / "models" / NAME / "model"
    place.mkdir(parents=True)
    write_model(place, booster, Encoder(features, {}), manifest)
    return matrix[:1].copy()


def instance(row: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"feature_{number}": round(float(value), 6) for number, value in enumerate(row[0])}


def _ours(folder: Path, row: np.ndarray[Any, Any]) -> dict[str, Server]:
    body = json.dumps({"instances": [instance(row)]}).encode()
    port, other = free_port(), free_port()
    environment = {
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "UVICORN_HOST": "127.0.0.1",
    }
    place = json.dumps({"model_name": NAME, "url": f"/opt/ml/models/{NAME}/model"}).encode()
    return {
        RESPONDER: Server(
            command=(sys.executable, "-m", "benchmarks.trivial_responder", str(other)),
            path="/",
            body=body,
            environment={},
            port=other,
        ),
        OURS: Server(
            command=(sys.executable, "-m", "training.container", "serve"),
            path=f"/models/{NAME}/invoke",
            body=body,
            environment=environment,
            port=port,
            before=lambda: exchange(port, post(port, "/models", place)),
        ),
    }


def _peers(folder: Path, row: np.ndarray[Any, Any]) -> dict[str, Server]:
    if not PEERS.exists():
        return {}
    plain = json.dumps({"instances": [instance(row)]}).encode()
    values = [round(float(value), 6) for value in row[0]]
    tensor = {"name": "rows", "shape": [1, FEATURES], "datatype": "FP32", "data": values}
    version_2 = json.dumps({"inputs": [tensor]}).encode()
    found: dict[str, tuple[str, str, bytes, tuple[str, ...]]] = {
        "fastapi, raw body": ("fastapi_server.py", "/raw", plain, ()),
        "fastapi, validated": ("fastapi_server.py", "/validated", plain, ()),
        "litserve": ("litserve_server.py", "/predict", plain, ()),
        "litserve, batches": ("litserve_server.py", "/predict", plain, (str(CONNECTIONS),)),
        "mlserver": ("mlserver_server.py", "/v2/models/model/infer", version_2, ()),
    }
    servers = {}
    model = folder / "models" / NAME / "model" / "model.ubj"
    for name, (script, path, body, arguments) in found.items():
        port = free_port()
        command = (str(PEERS), str(ROOT / "benchmarks" / "peers" / script), str(model), str(port), *arguments)
        servers[name] = Server(command=command, path=path, body=body, environment={}, port=port)
    if not shutil.which("java"):
        return servers
    for name, argument in (("multi-model-server", ""), ("sagemaker-inference", "toolkit")):
        port, management = low_port(), low_port()
        script = str(ROOT / "benchmarks" / "peers" / "mms_server.py")
        command = (str(PEERS), script, str(model), str(port), str(management), argument)
        path = f"/models/{NAME}/invoke"
        servers[name] = Server(command=command, path=path, body=plain, environment={}, port=port)
    return servers


def missing_peers() -> dict[str, str]:
    """Servers that were not measured -> the reason."""
    missing = {
        "sagemaker-xgboost-container": "in no package registry; its multi-model mode is multi-model-server "
        "with the handler of sagemaker-inference, which is measured"
    }
    if not PEERS.exists():
        missing["all"] = "their environment is missing: python3 tools/setup.py peers"
    elif not shutil.which("java"):
        missing["multi-model-server, sagemaker-inference"] = "need Java, which is not installed"
    return missing


def _request(server: Server) -> bytes:
    return post(server.port, server.path, server.body)


def _prediction(answer: bytes) -> float:
    document = json.loads(answer)
    values = document["predictions"] if "predictions" in document else document["outputs"][0]["data"]
    return float(values[0])


@contextmanager
def running(
    server: Server, core: int, ask: Callable[[], object] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The server on its core, answering, with all processes that it starts in one group.

    ask: raises OSError or RuntimeError until it answers; without, the server's own request.
    """
    # All threads of all libraries know that there is one core.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **server.environment}
    environment["PATH"] = os.pathsep.join([str(Path(server.command[0]).parent), environment.get("PATH", "")])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *server.command],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(server, process, log, ask or (lambda: exchange(server.port, _request(server))))
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Any, ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.before()
            ask()
            return
        except (OSError, RuntimeError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                said = log.read()[-2000:].decode(errors="replace")
                raise RuntimeError(f"{' '.join(server.command)} does not serve: {error}\n{said}") from error
            time.sleep(0.2)


def low_port() -> int:
    """A free port below 32768: multi-model-server takes no other."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
