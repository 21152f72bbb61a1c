"""Runs of Weights & Biases reach the job's output, by the real package, offline."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from tests.unit.vision.tracking_support import FINDS_IT, read_run
from training.vision.checkpoints.folder import FolderStore
from training.vision.checkpoints.store import Store
from training.vision.elastic import tracking, worker
from training.vision.elastic.tracking import Copies, reach_package, tracked
from training.vision.elastic.worker import STOPPED, work
from training.vision.telemetry.recorder import Process, Telemetry
from training.vision.telemetry.settings import Settings
from training.vision.telemetry.weights_and_biases import WeightsAndBiases

VARIABLES = (
    "WANDB_PROJECT",
    "WANDB_MODE",
    "WANDB_DIR",
    "WANDB_CACHE_DIR",
    "WANDB_CONFIG_DIR",
    "WANDB_DATA_DIR",
)


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's folder, in an environment that knows nothing of Weights & Biases."""
    for name in VARIABLES:
        # Set first, so that what is set in the test goes with it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def written(folder: Path, name: str = "offline-run-1") -> Path:
    run = folder / "wandb" / name
    for below, text in {"run-1.wandb": "figures", "files/config.yaml": "x", "logs/debug.log": "x"}.items():
        (run / below).parent.mkdir(parents=True, exist_ok=True)
        (run / below).write_text(text)
    return run


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_real_run_is_copied_when_its_host_is_stopped(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "dogs")
    monkeypatch.setenv("WANDB_MODE", "offline")
    output = base / "output"

    monkeypatch.delenv("PYTHONPATH", raising=False)

    written_down = base / "ml" / "output" / "data" / "wandb"

    def begun() -> bool:
        """Before that, nothing says how long a machine that is busy takes for the package's imports."""
        return any(path.stat().st_size for path in written_down.glob("offline-run-*/run-*.wandb"))

    def trains() -> None:
        reach_package()
        settings = Settings(project="dogs", job="dogs-1", attempt=2, target="off")
        with Telemetry(settings, Process(), config={"seed": 7}) as telemetry:
            telemetry.begin(total=2)
            telemetry.step(1, epoch=1, loss=0.5, images=32, rate=0.1)
            telemetry.evaluated(1, top1=0.75)
            until(begun)
        raise SystemExit(143)

    with pytest.raises(SystemExit), tracked(str(output)):
        trains()
    (file,) = output.glob("wandb/offline-run-*/run-*.wandb")
    run = read_run(file)
    assert run.run == {"project": "dogs", "name": "dogs-1-2", "group": "dogs-1", "config": run.run["config"]}
    assert run.run["config"]["seed"] == 7
    assert any(line.get("top1") == 0.75 and line["_step"] == 1 for line in run.history)
    assert any(line.get("Loss") == 0.5 for line in run.history)
    assert run.ended
    # What a person does with it next, as far as that goes without an account.
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(file.parent)]
    synced = subprocess.run(command, cwd=base, env=FINDS_IT, capture_output=True, text=True, check=True)
    assert f"{file.parent.name}/{file.name}" in synced.stderr
    # Neither in its user's home nor anywhere else that stays.
    assert not (base / "home").exists()


def test_runs_are_copied_while_the_job_goes_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "dogs")
    output = base / "output"
    with tracked(str(output), every=0.01):
        run = written(Path(os.environ["WANDB_DIR"]))
        copy = output / "wandb" / "offline-run-1" / "run-1.wandb"
        until(copy.exists)
        (run / "run-1.wandb").write_text("figures and more")
        until(lambda: copy.read_text() == "figures and more")
    assert files(output) == {"wandb/offline-run-1/run-1.wandb", "wandb/offline-run-1/files/config.yaml"}


@pytest.mark.parametrize("project", ["", "dogs"])
def test_who_asks_for_none_or_has_no_output_pays_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", project)
    with tracked(None if project else str(base / "output")):
        assert not {"WANDB_DIR", "WANDB_CACHE_DIR"} & os.environ.keys()
    assert not (base / "output").exists()


def test_a_copy_that_fails_is_said_once_and_made_up_for(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(base)
    place = base / "output"
    place.write_text("in the way")
    copies = Copies(base / "wandb", str(place))
    copies.copy()
    copies.copy()
    assert capsys.readouterr().out.count("its runs cannot be copied, training goes on") == 1
    place.unlink()
    copies.copy()
    assert "offline-run-1/run-1.wandb" in files(place)
    assert capsys.readouterr().out == ""


def test_a_host_that_is_stopped_meanwhile_copies_to_the_end(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "dogs")
    opened = tracking.open_store

    def stopped_now(place: str) -> Store:
        os.kill(os.getpid(), signal.SIGTERM)
        return opened(place)

    monkeypatch.setattr(tracking, "open_store", stopped_now)
    before = signal.getsignal(signal.SIGTERM)
    with tracked(str(base / "output")):
        written(Path(os.environ["WANDB_DIR"]))
    assert "wandb/offline-run-1/run-1.wandb" in files(base / "output")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_rank_that_is_stopped_lets_its_run_end(base: Path) -> None:
    def trainer(_: Sequence[str]) -> None:
        ends = f"import sys, time; sys.stdin.read(); time.sleep(1); open({str(base / 'ended')!r}, 'w')"
        WeightsAndBiases({}, print, (sys.executable, "-c", ends)).close(0)
        raise SystemExit(STOPPED)

    rank = multiprocessing.get_context("fork").Process(target=work, args=(trainer, (), {}))
    rank.start()
    rank.join(180)
    assert rank.exitcode == STOPPED
    assert (base / "ended").exists()


def test_a_rank_that_is_stopped_waits_for_no_other_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of torch.compile end after the rank."""
    monkeypatch.setattr(worker, "RUNS_SECONDS", 600)
    lives, end = os.pipe()

    def trainer(_: Sequence[str]) -> None:
        os.close(end)
        subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=lives)
        raise SystemExit(STOPPED)

    rank = multiprocessing.get_context("fork").Process(target=work, args=(trainer, (), {}))
    rank.start()
    rank.join(180)
    assert rank.exitcode == STOPPED
    os.close(end)
    os.close(lives)


def test_one_file_that_cannot_be_copied_keeps_no_other(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(base)
    (base / "output" / "offline-run-1" / "files").mkdir(parents=True)
    (base / "output" / "offline-run-1" / "files" / "config.yaml").mkdir()  # in the way
    written(base, "offline-run-2")
    Copies(base / "wandb", str(base / "output")).copy()
    assert files(base / "output") == {
        "offline-run-1/run-1.wandb",
        "offline-run-2/run-1.wandb",
        "offline-run-2/files/config.yaml",
    }
    assert capsys.readouterr().out.count("its runs cannot be copied") == 1


def test_a_store_that_does_not_answer_is_asked_for_so_long_only(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(base)
    asked: list[str] = []

    def silent(place: str) -> Store:
        asked.append(place)
        raise BotoCoreError

    monkeypatch.setattr(tracking, "open_store", silent)
    copies = Copies(base / "wandb", "s3://bucket/runs")
    copies.copy()  # whose failure is no exception: the job has an exit code of its own
    assert len(asked) == 2
    monkeypatch.setattr(tracking, "PATIENCE_SECONDS", 0.0)
    copies.copy()
    assert len(asked) == 3


def test_links_are_not_followed(base: Path) -> None:
    run = written(base)
    (base / "key").write_text("secret")
    (run / "files" / "key").symlink_to(base / "key")
    other = written(base / "elsewhere")
    (base / "wandb" / "offline-run-2").symlink_to(other)
    (run / "more").symlink_to(other)
    Copies(base / "wandb", str(base / "output")).copy()
    assert files(base / "output") == {"offline-run-1/run-1.wandb", "offline-run-1/files/config.yaml"}


def test_all_runs_have_one_client(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        written(base, f"offline-run-{number}")
    opens: list[str] = []
    opened = tracking.open_store
    monkeypatch.setattr(tracking, "open_store", lambda place: opens.append(place) or opened(place))
    Copies(base / "wandb", str(base / "output")).copy()
    assert opens == [str(base / "output")]


def test_only_what_has_changed_is_copied_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = written(base)
    copies = Copies(base / "wandb", str(base / "output"))
    copies.copy()
    brought: list[str] = []
    replace = FolderStore.replace

    def noted(store: FolderStore, name: str, data: bytes, tag: str | None) -> str:
        brought.append(name)
        return replace(store, name, data, tag)

    monkeypatch.setattr(FolderStore, "replace", noted)
    copies.copy()
    assert brought == []
    (run / "run-1.wandb").write_text("figures, longer")
    copies.copy()
    assert brought == ["offline-run-1/run-1.wandb"]
