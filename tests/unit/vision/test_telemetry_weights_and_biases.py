"""Whatever Weights & Biases does, training neither waits for it nor ends.

Its package is played by one that has the calls which are used, since it is no dependency.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.vision.telemetry_support import Job
from training.vision.telemetry import weights_and_biases
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import Settings
from training.vision.telemetry.weights_and_biases import WeightsAndBiases

BEGIN = {"project": "dogs", "name": "dogs-1", "group": "dogs", "config": {"seed": 7}}
PACKAGE = """
import json, os, pathlib, socket, time, urllib.parse

class Settings(dict):
    def __init__(self, **members):
        super().__init__(members)

class Run:
    def __init__(self, path):
        self.path = path
    def tell(self, **members):
        with self.path.open("a") as file:
            file.write(json.dumps(members) + "\\n")
    def log(self, members, step=None):
        if os.environ.get("PLAYED") == "breaks":
            raise RuntimeError("broken\\nin two lines")
        self.tell(step=step, **members)
    def finish(self):
        if os.environ.get("PLAYED") == "never ends":
            time.sleep(3600)
        self.tell(finished=True)

def init(*, mode, settings, dir, **begin):
    if os.environ.get("PLAYED") == "hangs":
        time.sleep(3600)
    if mode == "online":
        address = urllib.parse.urlsplit(os.environ["WANDB_BASE_URL"])
        socket.create_connection((address.hostname, address.port), timeout=settings["init_timeout"])
    run = Run(pathlib.Path(dir) / f"{mode}.jsonl")
    run.tell(**begin)
    return run

def teardown():
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `wandb` importable by other processes; returns the folder that it writes to."""
    (tmp_path / "packages" / "wandb").mkdir(parents=True)
    (tmp_path / "packages" / "wandb" / "__init__.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    for name in ("WANDB_MODE", "WANDB_BASE_URL", "PLAYED"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("WANDB_DIR", str(folder))
    return folder


@pytest.fixture
def nobody(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, which asks for a server at a closed port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    return package


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_by_default_a_run_is_written_to_a_folder(package: Path) -> None:
    said: list[str] = []
    run = WeightsAndBiases({**BEGIN, "dir": str(package)}, said.append)
    run.log({"step": 1, "Loss": 0.5})
    run.log({"step": 2, "Loss": 0.25})
    run.close()
    assert told(package / "offline.jsonl") == [
        BEGIN,
        {"step": 1, "Loss": 0.5},
        {"step": 2, "Loss": 0.25},
        {"finished": True},
    ]
    assert said == []


def test_a_server_that_is_not_there_gives_way_to_the_folder(
    nobody: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = WeightsAndBiases({**BEGIN, "dir": str(nobody)}, print)
    run.log({"step": 1, "Loss": 0.5})
    run.close()
    assert told(nobody / "offline.jsonl") == [BEGIN, {"step": 1, "Loss": 0.5}, {"finished": True}]
    assert "no connection, written to a folder instead: ConnectionRefusedError" in capfd.readouterr().err


def test_without_the_package_it_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Where it is installed after all: as good as absent.
    (tmp_path / "wandb.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[str] = []
    run = WeightsAndBiases(BEGIN, said.append)
    _until(lambda: run.log({"step": 1}) or said)
    run.log({"step": 2})
    run.close()
    assert said == ["Weights & Biases is off, training goes on without it: its process ended with code 3"]
    assert "pip install wandb" in capfd.readouterr().err


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("played", ["breaks", "hangs"])
def test_one_that_breaks_or_hangs_is_left(
    played: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAYED", played)
    said: list[str] = []
    run = WeightsAndBiases({**BEGIN, "dir": os.environ["WANDB_DIR"]}, said.append)
    process = psutil.Process(run._process.pid)  # type: ignore[union-attr]
    if played == "breaks":
        _until(lambda: run.log({"step": 1}) or said)
        assert "Weights & Biases: RuntimeError: broken in two lines" in capfd.readouterr().err
    else:
        started = time.monotonic()
        for number in range(2000):
            run.log({"step": number, "text": "x" * 200})
        # Two thousand lines for nobody, in the time of a few steps.
        assert time.monotonic() - started < 10
        assert run.dropped > 0
    run.close(0.2)
    assert said
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("package")
def test_a_run_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process itself where nobody is there to do it, so that none is left behind."""
    monkeypatch.setenv("PLAYED", "never ends")
    program = "import os, sys; from training.vision.telemetry import weights_and_biases as w\n"
    program += "w.FINISH_SECONDS = 0.2\nos._exit(w.main(sys.stdin))"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], *sys.path]))
    run = WeightsAndBiases({**BEGIN, "dir": os.environ["WANDB_DIR"]}, print, (sys.executable, "-c", program))
    process = run._process
    assert process
    assert process.stdin
    process.stdin.close()  # as when the trainer is killed
    assert process.wait(180) == 4


def test_a_program_that_cannot_be_started_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    run = WeightsAndBiases(BEGIN, print, ("/does/not/exist",))
    run.log({"step": 1})
    run.close()
    assert "cannot be started, training goes on without it" in capsys.readouterr().out


def test_training_goes_through_without_the_server(nobody: Path) -> None:
    settings = Settings(project="dogs", job="dogs", target="off")
    with Telemetry(settings, Process(), config={"seed": 7}) as telemetry:
        telemetry.begin(total=2)
        telemetry.step(1, epoch=1, loss=0.5, images=32, rate=0.1)
        telemetry.evaluated(1, top1=0.75)
    begin, *lines, finished = told(nobody / "offline.jsonl")
    assert begin == {**BEGIN, "name": "dogs-1"}
    assert {"step": 1, "epoch": 1, "top1": 0.75} in lines
    (metrics,) = (line for line in lines if "Loss" in line)
    assert (metrics["step"], metrics["Loss"]) == (1, 0.5)
    assert finished == {"finished": True}


def test_a_trainer_that_fails_does_not_wait_for_it(nobody: Path) -> None:
    telemetry = Telemetry(Settings(project="dogs", target="off"), Process())
    assert telemetry._dashboard
    process = telemetry._dashboard._process
    assert process
    with pytest.raises(RuntimeError, match="gloo"), telemetry:
        raise RuntimeError("gloo: a host is gone")
    assert telemetry._dashboard._process is None
    assert process.wait(180) == 0
    assert told(nobody / "offline.jsonl")[-1] == {"finished": True}


def test_nobody_who_does_not_ask_for_it_pays_for_it(tmp_path: Path) -> None:
    assert Job(tmp_path).telemetry._dashboard is None
    assert "wandb" not in sys.modules
    assert weights_and_biases.OFFLINE == "offline"


def _until(done: Any) -> None:
    deadline = time.monotonic() + 180
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
