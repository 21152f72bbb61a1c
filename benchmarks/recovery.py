"""How long a training job stands still when a host, the first one, the rendezvous or all of it is lost.

Two hosts, processes of this machine, train a small network with the entry point and the settings of a
cluster's hosts, over and over. When both train and a checkpoint is written, one of these strikes:

- `host`, `first_host`: kill -9 of all processes of a host, in the second case that of the first rank.
- `stopped`: SIGTERM to a host, as before Spot takes it.
- `rendezvous`: kill -9 of it. The hosts end; another rendezvous and two hosts are started at once.
- `all`: kill -9 of both hosts; two are started at once.

Measured from there to the first step that is done in what follows. What a platform takes to notice, and to
find capacity, is not in it. Steps are read from telemetry, told ten times a second. Bounds: 15 s each time;
the steps of an interval between checkpoints lost, with SIGTERM and the rendezvous none.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from benchmarks.harness import ROOT
from benchmarks.image_scale import generate
from benchmarks.recovery_timeline import Life, lives, read
from benchmarks.step_process import run_step

BOUND_S, ROUNDS, EVERY = 15.0, 3, 100
IMAGES, SIZE, SIDE = 1330, (48, 40), 32
PATIENCE_S = 180.0
SETTINGS = {
    "backbone": "test_resnet",
    "image_size": SIDE,
    "batch_size": 16,
    "epochs": 1000,
    "checkpoint_steps": EVERY,
    "checkpoint_seconds": 0,
}
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds until the first step, and steps that were done and are to be done again."""

    seconds: float
    lost: int


def recovery(found: Sequence[Life], struck: float) -> Recovery | None:
    """What followed on a fault at `struck`, epoch seconds; None: nothing yet.

    >>> before = Life(0.0, 1, 2, [(0.0, 0), (4.0, 38)])
    >>> recovery([before, Life(9.0, 1, 1, [(9.0, 20), (9.1, 20), (9.2, 22)])], struck=4.2)
    Recovery(seconds=5.0, lost=18)
    """
    done = max(step for life in found if life.began <= struck for _, step in life.points)
    for life in found:
        resumed = life.points[0][1]
        for at, step in life.points:
            if life.began > struck and step > resumed:
                return Recovery(round(at - struck, 2), max(0, done - resumed))
    return None


class Job:
    """Hosts and their rendezvous; all of them end with it."""

    def __init__(self, root: Path, dataset: Path) -> None:
        self._root, self._dataset = root, dataset
        self.hosts: dict[str, subprocess.Popen[bytes]] = {}
        self.meet()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self.hosts.values(), self.rendezvous):
            kill(process)

    def meet(self) -> None:
        """Start a rendezvous."""
        log = self._root / f"rendezvous-{time.monotonic_ns()}.log"
        self.rendezvous = _session(["training.vision.rendezvous", "--port", "0"], {}, log)
        port = self.wait(lambda: re.search(r"on port (\d+)", log.read_text()))[1]
        self._endpoint = f"127.0.0.1:{port}"

    def start(self, *names: str, attempt: int = 1) -> None:
        """Start hosts."""
        for name in names:
            told = {
                "SAGEMAKER_BASE_DIR": str(self._root / name),
                "RENDEZVOUS_ENDPOINT": self._endpoint,
                "JOB_NAME": "job",
                "ATTEMPT": str(attempt),
                "MAX_HOSTS": "2",
                "CHECKPOINT_URI": str(self._root / "checkpoints"),
                "DATASET_URI": str(self._dataset),
                "HYPERPARAMETERS": json.dumps(SETTINGS),
                "TELEMETRY": str(self._root / "lines"),
                "TELEMETRY_SECONDS": "0.1",
            }
            self.hosts[name] = _session(["training.vision.launch"], told, self._log(name))

    def lives(self) -> list[Life]:
        return lives(read(self._root / "lines"))

    def first(self) -> str:
        """The host that has the first rank now."""
        return max(self.hosts, key=lambda name: (self._log(name).read_text().rfind("host 1 of 2 ") > 0, name))

    def train(self) -> None:
        """Until both hosts train, and have written a checkpoint."""

        def do() -> bool:
            last = self.lives()[-1:]
            return bool(last and last[0].hosts == 2 and last[0].checkpoints)

        self.wait(do)

    def wait(self, condition: Callable[[], Found | None]) -> Found:
        """Until there is something; returns it. RuntimeError with the logs if there never is."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in sorted(self._root.glob("*.log")))
                raise RuntimeError(f"the job does not go on:\n{logs}")
            time.sleep(0.05)
        return found

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"


def kill(process: subprocess.Popen[bytes]) -> None:
    """All that it started, at once, as when the machine is gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _session(command: Sequence[str], told: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    # The hosts share the cores of this machine: who waits leaves them to the others.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive", **told}
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _host(job: Job) -> None:
    kill(next(process for name, process in job.hosts.items() if name != job.first()))


def _first_host(job: Job) -> None:
    kill(job.hosts[job.first()])


def _stopped(job: Job) -> None:
    next(process for name, process in job.hosts.items() if name != job.first()).send_signal(signal.SIGTERM)


def _rendezvous(job: Job) -> None:
    kill(job.rendezvous)
    for process in job.hosts.values():
        process.wait(PATIENCE_S)
    job.meet()
    job.start("c", "d", attempt=2)


def _all(job: Job) -> None:
    for process in job.hosts.values():
        kill(process)
    job.start("c", "d", attempt=2)


FAULTS: dict[str, Callable[[Job], None]] = {
    "host": _host,
    "first_host": _first_host,
    "stopped": _stopped,
    "rendezvous": _rendezvous,
    "all": _all,
}
IN_ORDER = ("stopped", "rendezvous")


def measure(rounds: int = ROUNDS, faults: Sequence[str] = tuple(FAULTS)) -> dict[str, Any]:
    found: dict[str, list[Recovery]] = {name: [] for name in faults}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        generate(data / "processing" / "input" / "data", IMAGES, SIZE)
        run_step(data, "training.vision.preprocess", ["--image-size", str(SIDE)])
        for number in range(rounds):
            for name in faults:
                root = Path(folder) / f"{name}-{number}"
                root.mkdir()
                found[name].append(run(root, data / "processing" / "output", FAULTS[name]))
    return summary(found)


def run(root: Path, dataset: Path, fault: Callable[[Job], None]) -> Recovery:
    """One fault of one job."""
    with Job(root, dataset) as job:
        job.start("a", "b")
        job.train()
        struck = time.time()
        fault(job)
        return job.wait(lambda: recovery(job.lives(), struck))


def summary(found: Mapping[str, Sequence[Recovery]]) -> dict[str, Any]:
    """The figures of each fault, and whether all of them hold."""
    rows = {}
    for name, runs in found.items():
        seconds, lost = [run.seconds for run in runs], max(run.lost for run in runs)
        rows[name] = {
            "median_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "lost_steps_at_most": lost,
            "lost_steps_allowed": 0 if name in IN_ORDER else 2 * EVERY,
        }
    return {
        "hosts": 2,
        "steps_between_checkpoints": EVERY,
        "recoveries": rows,
        "bound_s": BOUND_S,
        "holds": all(
            row["max_s"] <= BOUND_S and row["lost_steps_at_most"] <= row["lost_steps_allowed"]
            for row in rows.values()
        ),
    }
