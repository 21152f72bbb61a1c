"""Each alarm, over the lines of the trainer's telemetry: it rings when it should, and only then.

The trainer's clock and the alarms' are one that the test moves; alarms are evaluated as the local cloud does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from localcloud.aws.differences.embedded_metrics import parse
from localcloud.cloudwatch.evaluator import Evaluator
from modelyard.training import TrainingMonitoring
from tests.unit.vision.telemetry_support import BEGAN, Clock, Job
from training.vision.telemetry import names, recorder

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Maximum": max, "Minimum": min, "Sum": math.fsum}
LINE, CHECKPOINT = 10.0, 60.0


class NoMachine:
    def __init__(self, _gpu: object) -> None:
        pass

    def look(self) -> dict[str, float]:
        return {}


class Cluster:
    """One job after another, and the alarms over them."""

    def __init__(self, alarms: list[dict[str, Any]], folder: Path) -> None:
        self.alarms, self.folder, self.clock = alarms, folder, Clock()
        self.rang: set[str] = set()
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._read = 0
        self._told = 0.0
        self._evaluator = Evaluator(lambda: self.alarms, self._source, self._change, now=self.clock.now)
        self._evaluator.tick()
        self.start()

    def start(self, record: dict[str, Any] | None = None, step: int = 0) -> None:
        """Another process of the job."""
        self._read += 1
        self.job = Job(self.folder / str(self._read), clock=self.clock, began=BEGAN)
        self.job.telemetry.begin(total=100_000, done=step, record=record)
        self.step, self.record, self._seen = step, record, 0

    def passes(self, seconds: float) -> None:
        """Time in which nothing is learned."""
        for _ in range(round(seconds)):
            self.clock.passed += 1.0
            self._tick()

    def trains(self, seconds: float, *, share: float = 0.95, saves: bool = True, **figures: Any) -> None:
        """Steps of a second, of which `share` computes; a checkpoint every minute."""
        for _ in range(round(seconds)):
            self.step += 1
            self.job.step(self.step, wait=1.0 - share, computes=share, **figures)
            if saves and self.step % CHECKPOINT == 0:
                self.record = self.job.telemetry.record()
                self.job.telemetry.saved(self.record, self.step)
            self._tick()

    def ringing(self) -> set[str]:
        return {alarm["MetricName"] for alarm in self.alarms if alarm["StateValue"] == "ALARM"}

    def _tick(self) -> None:
        if self.clock.passed - self._told >= LINE:
            self._told = self.clock.passed
            self.job.telemetry.emit()
        for line in self._new_lines():
            for datum in parse(line, self.clock.now()):
                if set(datum.dimensions) == {names.CLUSTER}:
                    points = self._points.setdefault(datum.name, [])
                    points += [(datum.timestamp, value) for value in datum.values]
        self._evaluator.tick()

    def _new_lines(self) -> Iterator[str]:
        with self.job.path.open() as file:
            file.seek(self._seen)
            yield from file.read().splitlines()
            self._seen = file.tell()

    def _source(self, metric: Any, end: float, period: float, count: int) -> list[float | None]:
        told = self._points.get(metric["MetricName"], [])
        found = []
        for age in range(count, 0, -1):
            start = end - age * period
            values = [value for at, value in told if start <= at < start + period]
            found.append(STATISTICS[metric["Statistic"]](values) if values else None)
        return found

    def _change(self, name: str, state: Any, _reason: str, _data: str) -> None:
        alarm = next(alarm for alarm in self.alarms if alarm["AlarmName"] == name)
        alarm["StateValue"] = state.value
        if state.value == "ALARM":
            self.rang.add(alarm["MetricName"])


@pytest.fixture
def cluster(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(recorder, "Machine", NoMachine)
    TrainingMonitoring(stack, "Monitoring")
    template = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm")
    alarms = [
        {**alarm["Properties"], "AlarmName": name, "StateValue": "INSUFFICIENT_DATA"}
        for name, alarm in template.items()
    ]
    return Cluster(alarms, tmp_path)


def test_a_job_that_runs_well_and_loses_a_host_rings_nothing(cluster: Cluster) -> None:
    cluster.passes(120)  # images are read, the network is made
    cluster.trains(1200)
    for _ in range(3):
        cluster.trains(45)
        cluster.start(cluster.record, cluster.step - cluster.step % 60)
        cluster.passes(15)
        cluster.trains(600)
    cluster.passes(200)
    cluster.job.telemetry.evaluated(1, top1=0.9)
    cluster.trains(300)
    assert cluster.rang == set()


def test_a_job_that_hangs_rings_and_ends_when_it_goes_on(cluster: Cluster) -> None:
    cluster.trains(300)
    cluster.passes(580)
    assert names.STEP_AGE not in cluster.rang
    cluster.passes(120)
    assert names.STEP_AGE in cluster.ringing()
    cluster.trains(130)
    assert names.STEP_AGE not in cluster.ringing()


@pytest.mark.parametrize("figures", [{"loss": math.nan}, {"loss": math.inf}, {"norm": math.nan}])
def test_a_loss_that_is_no_number_rings(cluster: Cluster, figures: dict[str, float]) -> None:
    cluster.trains(300)
    cluster.trains(1, **figures)
    cluster.trains(100)
    assert cluster.rang == {names.NON_FINITE}


def test_waiting_for_data_rings_after_a_quarter_of_an_hour(cluster: Cluster) -> None:
    cluster.trains(600, share=0.3)
    assert cluster.rang == set()
    cluster.trains(1500, share=0.3)
    assert cluster.rang == {names.RECENT_GOODPUT}


def test_restarts_again_and_again_ring(cluster: Cluster) -> None:
    cluster.trains(60)
    for _ in range(25):
        cluster.trains(30)  # lost, each time
        cluster.start(cluster.record, 60)
        cluster.passes(30)
    assert cluster.rang == {names.RECENT_GOODPUT}


def test_checkpoints_that_are_not_written_ring(cluster: Cluster) -> None:
    cluster.trains(900)
    cluster.trains(1700, saves=False)
    assert cluster.rang == set()
    cluster.trains(200, saves=False)
    assert cluster.rang == {names.CHECKPOINT_AGE}
    cluster.trains(180)
    assert cluster.ringing() == set()


def test_a_job_that_ended_rings_nothing(cluster: Cluster) -> None:
    cluster.trains(300)
    cluster.job.telemetry.emit = lambda: None  # type: ignore[method-assign]
    cluster.passes(3600)
    assert cluster.rang == set()
    assert statistics.mean(value for _, value in cluster._points[names.RECENT_GOODPUT]) > 90
