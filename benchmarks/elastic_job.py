"""An elastic job whose hosts, processes of this machine, are lost, cut off and started as a fault has it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from benchmarks.harness import ROOT
from benchmarks.recovery_timeline import Life, lives, read, time_of
from tools.network import SWITCH, Network

EVERY, SIDE = 100, 32
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


class Job:
    """Hosts and their rendezvous; all of them end with it.

    Args:
        root: An empty folder of its own.
        dataset: A folder of channels.
        most: Hosts that train together.
        network: That each host has a line to; None: all are on that of this machine.
    """

    def __init__(self, root: Path, dataset: Path, most: int = 2, network: Network | None = None) -> None:
        self._root, self._dataset, self._most, self._network = root, dataset, most, network
        self.hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._lines: dict[str, list[str]] = {}
        self._cut: dict[str, float] = {}
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
        inside, address = (self._network.inside, SWITCH) if self._network else ([], "127.0.0.1")
        self.rendezvous = _session(["training.rendezvous", "--port", "0"], {}, log, inside)
        port = self.wait(lambda: re.search(r"on port (\d+)", log.read_text()))[1]
        self._endpoint = f"{address}:{port}"

    def start(self, *names: str, attempt: int = 1) -> None:
        """Start hosts."""
        for name in names:
            told = {
                "SAGEMAKER_BASE_DIR": str(self._root / name),
                "RENDEZVOUS_ENDPOINT": self._endpoint,
                "JOB_NAME": "job",
                "ATTEMPT": str(attempt),
                "MAX_HOSTS": str(self._most),
                "CHECKPOINT_URI": str(self._root / "checkpoints"),
                "DATASET_URI": str(self._dataset),
                "HYPERPARAMETERS": json.dumps(SETTINGS),
                "TELEMETRY": str(self._folder(name)),
                "TELEMETRY_SECONDS": "0.1",
            }
            self._lines[name] = self._network.machine() if self._network else []
            self.hosts[name] = _session(["training.vision.launch"], told, self._log(name), self._lines[name])

    def cut(self, name: str) -> None:
        """Cut a host's line; it goes on, and what it tells from now on is of no job any more."""
        if self._network is None:
            raise ValueError("these hosts have no lines of their own; give the job a network")
        self._cut[name] = time.time()
        self._network.cut(self._lines[name])

    def lives(self) -> list[Life]:
        """Of the first ranks of those hosts that are not cut off."""
        return lives(
            line
            for name in self.hosts
            for line in read(self._folder(name))
            if name not in self._cut or time_of(line) <= self._cut[name]
        )

    def first(self) -> str:
        """The host that has the first rank now."""
        said = re.compile(r"host (\d+) of \d+ on ")
        latest = {name: said.findall(self._log(name).read_text())[-1:] for name in self.hosts}
        return next(name for name, place in latest.items() if place == ["1"] and self._lives(name))

    def others(self) -> list[str]:
        """Those hosts that have not."""
        first = self.first()
        return [name for name in self.hosts if name != first and self._lives(name)]

    def train(self, hosts: int) -> None:
        """Until so many hosts train, and have written a checkpoint."""

        def do() -> bool:
            last = self.lives()[-1:]
            return bool(last and last[0].hosts == hosts and last[0].checkpoints)

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

    def _lives(self, name: str) -> bool:
        return self.hosts[name].poll() is None and name not in self._cut

    def _folder(self, name: str) -> Path:
        return self._root / "lines" / name

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"


def kill(process: subprocess.Popen[bytes]) -> None:
    """All that it started, at once, as when the machine is gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _session(
    command: Sequence[str], told: Mapping[str, str], log: Path, inside: Sequence[str]
) -> subprocess.Popen[bytes]:
    # The hosts share the cores of this machine: who waits leaves them to the others.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive", **told}
    with log.open("wb") as stream:
        return subprocess.Popen(
            [*inside, sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
