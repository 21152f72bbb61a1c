"""A step of the trainer beside the shortest PyTorch loop, Accelerate and Lightning; two hosts; a checkpoint.

All train the same network of a million weights on the same batch, which lies in memory; steps are asked for
in turn, a block of them at a time, of processes that otherwise wait. Measured pair by pair:

- `step`: time over that of the shortest loop, of the trainer with all that it does for a step (schedule,
  telemetry, sums over the hosts, SIGTERM, whether a checkpoint is due), of Accelerate and of Lightning. Bound
  of ours: 1.03.
- `two_hosts`: images a second of two processes that train one model, over those of two jobs of half the batch
  at the same time. Bound: 0.9.
- `checkpoint`: what one costs a training that goes on beside it, of a minute. Bound: 1 %.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.harness import ROOT, Sample, ratio
from training.common.hosts import usable_cpus

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
BATCH, STEPS, ROUNDS = 32, 12, 15
STEP_BOUND, HOSTS_BOUND, CHECKPOINT_BOUND, CADENCE_S = 1.03, 0.9, 0.01, 60.0


class Subject:
    """Processes that train side by side when they are asked to."""

    def __init__(self, *commands: Sequence[str]) -> None:
        self._processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for command in commands
        ]

    def __call__(self, steps: int = STEPS) -> float:
        """Seconds that the steps took, of the slowest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        return max(self._answer(process) for process in self._processes)

    def _answer(self, process: subprocess.Popen[str]) -> float:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            try:
                return float(line)
            except ValueError:
                continue  # of a log
        raise RuntimeError(f"a trainer ended with {process.wait()}: {process.stderr.read()[-2000:]}")

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    if not PEERS_PYTHON.is_file():
        raise SystemExit("Accelerate and Lightning are missing: python3 tools/setup.py peers")
    with tempfile.TemporaryDirectory() as folder:
        step, hosts, checkpoint = (
            _steps(rounds),
            two_hosts(rounds, Path(folder)),
            _checkpoint(rounds, Path(folder)),
        )
    return {
        "step": step,
        "two_hosts": hosts,
        "checkpoint": checkpoint,
        "holds": step["modelyard"]["median"] <= STEP_BOUND
        and hosts["median"] >= HOSTS_BOUND
        and checkpoint["share_of_a_minute"] <= CHECKPOINT_BOUND,
    }


def _ours(name: str, batch: int, threads: int, *more: object) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.training_subject", name, str(batch), str(threads)]
    return [*command, *map(str, more)]


def _steps(rounds: int) -> dict[str, Any]:
    threads = usable_cpus()
    peer = [str(PEERS_PYTHON), str(ROOT / "benchmarks" / "peers" / "training_step.py")]
    with (
        Subject(_ours("plain", BATCH, threads)) as plain,
        Subject(_ours("modelyard", BATCH, threads)) as modelyard,
        Subject([*peer, "accelerate", str(BATCH), str(threads)]) as accelerate,
        Subject([*peer, "lightning", str(BATCH), str(threads)]) as lightning,
    ):
        subjects = {"plain": plain, "modelyard": modelyard, "accelerate": accelerate, "lightning": lightning}
        samples = _interleaved(subjects, rounds)
    reference = samples.pop("plain")
    return {
        "plain_ms": round(1000 * reference.median / STEPS, 2),
        **{name: ratio(sample, reference) for name, sample in samples.items()},
        "bound": STEP_BOUND,
    }


def two_hosts(rounds: int, folder: Path) -> dict[str, Any]:
    """What two processes that train one model do of what two jobs of half the batch do."""
    threads = max(1, usable_cpus() // 2)
    with (
        Subject(*(_ours("modelyard", BATCH, threads, rank, 2, folder) for rank in range(2))) as together,
        Subject(*(_ours("modelyard", BATCH, threads) for _ in range(2))) as apart,
    ):
        samples = _interleaved({"together": together, "apart": apart}, rounds)
    return {**ratio(samples["apart"], samples["together"]), "bound": HOSTS_BOUND}


def _checkpoint(rounds: int, folder: Path) -> dict[str, Any]:
    """One in each block of steps, beside blocks without."""
    threads = usable_cpus()
    with (
        Subject(_ours("modelyard", BATCH, threads, 0, 1, folder, STEPS)) as saving,
        Subject(_ours("modelyard", BATCH, threads)) as without,
    ):
        samples = _interleaved({"saving": saving, "without": without}, rounds)
    pairs = zip(samples["saving"].seconds, samples["without"].seconds, strict=True)
    cost = statistics.median(one - other for one, other in pairs)
    return {
        "ms": round(1000 * cost, 1),
        "share_of_a_minute": round(max(0.0, cost) / CADENCE_S, 5),
        "bound": CHECKPOINT_BOUND,
    }


def _interleaved(subjects: dict[str, Subject], rounds: int) -> dict[str, Sample]:
    """As `harness.interleave`, by the processes' own clocks."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, subject in subjects.items():
            took = subject()
            if number:
                seconds[name].append(took)
    return {name: Sample(tuple(values)) for name, values in seconds.items()}
