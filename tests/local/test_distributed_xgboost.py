"""One model over several hosts: processes with a folder each, as SageMaker lays it out, on the real loans."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.gang_support import PATIENCE, Hosts
from tests.local.training_support import held_out_r2, lay_out, prepare

DRIVER = """
import sys
from training.common.failure import run
from training.common.gang import Limits
from training.tabular import collective, train
collective.LIMITS = Limits(join=float(sys.argv[1]), silence=float(sys.argv[2]), beat=0.2)
raise SystemExit(run(train.main))
"""
SLOW = {"num_round": "5000", "early_stopping_rounds": "5000", "eta": "0.001"}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("loans"), "purchase", "interest_rate")


class Job(Hosts):
    """The hosts of a job on the loans."""

    def __init__(self, root: Path, splits: Path, count: int, net: int, **hyperparameters: str) -> None:
        super().__init__(root, DRIVER, f"127.8.{net}", count)
        for host, name in zip(self.roots, self.names, strict=True):
            lay_out(host, splits, self.names, name, hyperparameters)

    def start(self, *numbers: int, join: float = 100.0, silence: float = 20.0) -> None:
        self.start_each(numbers, join, silence)


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.end()


def test_two_hosts_train_the_model_of_one(splits: Path, tmp_path: Path, jobs: list[Job]) -> None:
    single, double = Job(tmp_path / "1", splits, 1, 1), Job(tmp_path / "2", splits, 2, 2)
    jobs += [single, double]
    single.start(0)
    double.start(1, 0)
    assert (single.codes(), double.codes()) == ([0], [0, 0]), double.logs()

    manifests = [json.loads((job.roots[0] / "model" / "manifest.json").read_text()) for job in jobs]
    assert list((double.roots[1] / "model").iterdir() if (double.roots[1] / "model").exists() else []) == []
    one, two = (manifest["training"] for manifest in manifests)
    assert (one["hosts"], two["hosts"], one["rows"]) == (1, 2, two["rows"])
    assert two["target_mean"] == pytest.approx(one["target_mean"], rel=1e-6)
    # Chance decides splits, so one model may be off by this much; the benchmark has the mean of many.
    scores = [held_out_r2(job.roots[0] / "model", splits) for job in jobs]
    assert scores[1] == pytest.approx(scores[0], abs=0.03)


def test_early_stopping_comes_in_the_same_round_everywhere(
    splits: Path, tmp_path: Path, jobs: list[Job]
) -> None:
    job = Job(tmp_path, splits, 2, 3, early_stopping_rounds="5", eta="0.3")
    jobs.append(job)
    job.start(0, 1)
    assert job.codes() == [0, 0], job.logs()
    manifest = json.loads((job.roots[0] / "model" / "manifest.json").read_text())
    assert manifest["training"]["rounds"] < 100


def test_a_killed_host_ends_the_others_with_the_reason(splits: Path, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, splits, 3, 4, **SLOW)
    jobs.append(job)
    job.start(0, 1, 2)
    job.wait_for("[20]")
    job.processes[2].kill()
    assert job.codes() == [1, 1, -signal.SIGKILL]
    for number in (0, 1):
        assert job.reason(number) == (
            "the job lost a host: 127.8.4.3 ended before the others were done; see the log of that host"
        )
    assert not (job.roots[0] / "model").exists()


def test_a_killed_first_host_ends_the_others(splits: Path, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, splits, 2, 5, **SLOW)
    jobs.append(job)
    job.start(0, 1)
    job.wait_for("[20]")
    job.processes[0].kill()
    assert job.codes() == [-signal.SIGKILL, 1]
    assert "127.8.5.1 ended before the others were done" in job.reason(1)


def test_a_silent_host_is_lost(splits: Path, tmp_path: Path, jobs: list[Job]) -> None:
    job = Job(tmp_path, splits, 2, 6, **SLOW)
    jobs.append(job)
    job.start(0, 1, silence=4.0)
    job.wait_for("[20]")
    job.processes[1].send_signal(signal.SIGSTOP)
    assert job.processes[0].wait(PATIENCE) == 1
    assert "127.8.6.2 gave no sign of life for 4 s" in job.reason(0)


@pytest.mark.parametrize(("present", "message"), [(0, "127.8.7.2 did not join"), (1, "did not answer")])
def test_a_host_that_never_comes_is_named(
    splits: Path, tmp_path: Path, jobs: list[Job], present: int, message: str
) -> None:
    job = Job(tmp_path, splits, 2, 7)
    jobs.append(job)
    job.start(present, join=2.0)
    assert job.codes() == [1]
    assert message in job.reason(present)


def test_a_hosts_own_mistake_is_its_reason_and_ends_the_others(
    splits: Path, tmp_path: Path, jobs: list[Job]
) -> None:
    job = Job(tmp_path, splits, 2, 8)
    jobs.append(job)
    (job.roots[1] / "input" / "data" / "encoder").unlink()
    job.start(0, 1)
    assert job.codes() == [1, 1]
    assert "training channel 'encoder' is missing" in job.reason(1)
    assert "127.8.8.2 ended before the others were done" in job.reason(0)
