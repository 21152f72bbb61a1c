"""An elastic job whose hosts are sessions of processes on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from tests.local.gang_support import REPO
from tests.unit.vision.checkpoint_support import pointer_in
from tests.unit.vision.vision_support import HYPERPARAMETERS, Container
from tools.network import SWITCH, Network
from training.common.archive import unpack
from training.vision.checkpoints.folder import FolderStore

HOST = Path(__file__).with_name("elastic_host.py")
# A host's program is a script: its folder and not the repository is where it would look for modules.
COMMON = {
    "PYTHONPATH": str(REPO),
    "PYTHONUNBUFFERED": "1",
    "OMP_WAIT_POLICY": "passive",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
EVALUATION = "evaluation"
SECONDS = 300.0  # for anything that a test waits for: a bound, not a measure


def eventually(condition: Callable[[], Any], why: Callable[[], str], seconds: float = SECONDS) -> None:
    """Wait until it holds; `why` is shown if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


class Session:
    """A program and all that it starts, as a host's container is.

    Args:
        inside: the command that runs a command on its machine, see `tools.network`.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, inside: Sequence[str] = ()
    ) -> None:
        self.log_file = log
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [*inside, sys.executable, *command],
                cwd=REPO,
                env=os.environ | environment | COMMON,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def members(self) -> list[int]:
        """Of the processes that are still there, those that it started, and itself."""
        found = []
        for process in psutil.process_iter():
            try:
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and os.getsid(process.pid) == self._process.pid:
                    found.append(process.pid)
            except (psutil.Error, ProcessLookupError):
                continue
        return found

    def wait(self, seconds: float = SECONDS) -> int:
        """Its exit code, once nothing of it is left."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log_file.name} did not end:\n{self.log}") from None
        eventually(lambda: not self.members(), lambda: f"orphans: {self.members()}\n{self.log}")
        return code

    def send(self, number: int) -> None:
        """To the program alone, as a container's first process gets it."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """All of it at once, as when its line is cut: nothing closes its connections."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """All of it at once, as when the machine is gone; nothing of it is left when this returns."""
        if self._process.returncode is None:  # else it was waited for, and its number may be another's
            os.killpg(self._process.pid, signal.SIGKILL)
            self.wait()


@dataclass(frozen=True)
class Step:
    """A step that a host began, in a world of so many ranks."""

    number: int
    world: int
    time: float


class Job:
    """An elastic job; `start` starts a host of it, any name once.

    Args:
        root: its folder. images: a container whose outputs are the dataset.
        network: that its hosts are on; None: that of this machine.
        hyperparameters: apart from those of all these tests.
    """

    def __init__(
        self, root: Path, images: Container, network: Network | None = None, **hyperparameters: Any
    ) -> None:
        self.root = root
        self.network = network
        self.machines: dict[str, list[str]] = {}
        self.images = images
        self.hyperparameters = HYPERPARAMETERS | hyperparameters
        self.hosts: dict[str, Session] = {}
        self.store = FolderStore(root / "checkpoints")
        (root / "holds").mkdir(parents=True)
        self.meet_again()

    def meet_again(self, port: str = "0") -> None:
        """Start a rendezvous, for the hosts to come; at a port where they wait for it, or at any."""
        command = ["-m", "training.rendezvous", "--port", port]
        inside, address = (self.network.inside, SWITCH) if self.network else ([], "127.0.0.1")
        session = Session(command, {}, self.root / "rendezvous.log", inside)
        eventually(lambda: "on port" in session.log, lambda: session.log)
        found = re.search(r"on port (\d+)", session.log)
        assert found
        self.rendezvous, self.endpoint = session, f"{address}:{found[1]}"

    def start(self, *names: str, hosts: tuple[int, int], attempt: int = 1, **environment: str) -> None:
        """Start hosts of a job of at least and at most so many."""
        for name in names:
            self.machines[name] = self.network.machine() if self.network else []
            self.hosts[name] = Session(
                [str(HOST)],
                {
                    "SAGEMAKER_BASE_DIR": str(self.root / name),
                    "HOLDS": str(self.root / "holds"),
                    "HOST": name,
                    "TOGETHER": " ".join(names),
                    "RENDEZVOUS_ENDPOINT": self.endpoint,
                    "JOB_NAME": "job",
                    "ATTEMPT": str(attempt),
                    "MIN_HOSTS": str(hosts[0]),
                    "MAX_HOSTS": str(hosts[1]),
                    "CHECKPOINT_URI": str(self.root / "checkpoints"),
                    "DATASET_URI": str(self.images.root / "processing" / "output"),
                    "OUTPUT_URI": str(self.root / "output"),
                    "HYPERPARAMETERS": json.dumps(self.hyperparameters),
                }
                | environment,
                self.root / f"{name}.log",
                self.machines[name],
            )

    def cut(self, name: str) -> None:
        """Cut a host's line, while it goes on; without a network of its own it stands still instead."""
        if self.network:
            self.network.cut(self.machines[name])
        else:
            self.hosts[name].freeze()

    def mend(self, name: str) -> None:
        if self.network:
            self.network.mend(self.machines[name])
        else:
            self.hosts[name].thaw()

    def hold(self, step: int | str, name: str) -> None:
        """Have the ranks of a host wait before a step, counted from 0, or in the middle of an EVALUATION."""
        (self.root / "holds" / f"hold-{step}-{name}").touch()

    def wait_held(self, step: int | str, name: str) -> None:
        self._wait_for(f"held-{step}-{name}")

    def wait_told(self, name: str) -> None:
        """Until a rank of the host was told to stop."""
        self._wait_for(f"told-{name}")

    def release(self, step: int | str, name: str) -> None:
        (self.root / "holds" / f"hold-{step}-{name}").unlink()

    def wait_saved(self, step: int) -> int:
        """Until a checkpoint of this step, or of a later one, counts; returns the last one's step."""
        eventually(lambda: self.saved() >= step, self.logs)
        return self.saved()

    def saved(self) -> int:
        kept = pointer_in(self.store).kept
        return kept[-1].step if kept else -1

    def wait_step(self, step: int, world: int) -> None:
        """Until this step, or a later one, was begun in a world of so many ranks."""
        eventually(lambda: any(s.world == world and s.number >= step for s in self.steps()), self.logs)

    def steps(self, *names: str) -> list[Step]:
        """What the hosts began, in the order of time."""
        logs = [self.hosts[name].log for name in names or self.hosts]
        rows = re.findall(r"^step (\d+) in a world of (\d+) at ([\d.]+)$", "\n".join(logs), re.MULTILINE)
        steps = [Step(int(number), int(world), float(when)) for number, world, when in rows]
        return sorted(steps, key=lambda step: step.time)

    def first(self) -> str:
        """The host of the first rank in the latest round."""
        rows = [
            (host.log.rfind("host 1 of "), host.log.rfind("host 2 of "), name)
            for name, host in self.hosts.items()
        ]
        return next(name for first, second, name in rows if first > second)

    def end(self) -> None:
        for session in (*self.hosts.values(), self.rendezvous):
            session.kill()

    def logs(self) -> str:
        sessions = {**self.hosts, "rendezvous": self.rendezvous}
        return "".join(f"\n== {name}\n{session.log}" for name, session in sessions.items())

    def finish(self, *names: str) -> None:
        """All of these hosts end well, and leave nothing behind."""
        codes = {name: self.hosts[name].wait() for name in names}
        assert set(codes.values()) == {0}, self.logs()

    def weights(self) -> dict[str, Any]:
        """Of the delivered model."""
        unpack(self.root / "output" / "model.tar.gz", self.root / "model")
        found: dict[str, Any] = load_file(self.root / "model" / "model.safetensors")
        return found

    def _wait_for(self, name: str) -> None:
        eventually((self.root / "holds" / name).exists, self.logs)
