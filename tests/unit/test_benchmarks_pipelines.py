"""How the benchmarks of pipelines count."""

from __future__ import annotations

import json
import sqlite3

import pytest

from benchmarks import cached_rerun, check, critical_path, pipeline_scale
from benchmarks.harness import Sample


@pytest.mark.parametrize(
    ("times", "parallel", "expected"),
    [
        ([], 2, 0.0),
        ([2.0, 3.0], 1, 5.0),
        ([2.0, 3.0], 2, 3.0),
        ([2.0, 3.0], 5, 3.0),
        # The third takes the place of the second, the fourth of the third.
        ([3.0, 1.0, 1.0, 2.0], 2, 4.0),
    ],
)
def test_a_tuning_jobs_schedule_has_nothing_between_its_training_jobs(times, parallel, expected):
    assert critical_path.scheduled(times, parallel) == expected


def test_a_tuning_step_counts_the_processes_of_its_own_training_jobs():
    store = sqlite3.connect(":memory:")
    store.execute("CREATE TABLE documents (sequence INTEGER PRIMARY KEY, kind TEXT, name TEXT, body TEXT)")

    def add(kind, name, **body):
        store.execute(
            "INSERT INTO documents (kind, name, body) VALUES (?, ?, ?)", (kind, name, json.dumps(body))
        )

    limits = {"ResourceLimits": {"MaxParallelTrainingJobs": 2}}
    add(
        "hyper-parameter-tuning-job", "Tune",
        HyperParameterTuningJobName="Tune", HyperParameterTuningJobConfig=limits,
    )  # fmt: skip
    for name, begin, end in (("a", 10.0, 13.0), ("b", 10.0, 11.0), ("c", 11.5, 12.5), ("d", 12.9, 14.9)):
        add("training-job", name, _TuningJobName="Tune", _Processes=[[begin, end]])
    add("training-job", "lost", _TuningJobName="Tune")
    add("training-job", "another", _TuningJobName="Other", _Processes=[[0.0, 99.0]])
    add("processing-job", "hosts", _Processes=[[1.0, 3.0], [1.5, 4.0]])
    assert critical_path._of_job(store, "tune") == pytest.approx(4.0)
    assert critical_path._of_job(store, "hosts") == 3.0
    assert critical_path._of_job(store, "nothing") == 0.0


def _cost(work, wall=0.08):
    return pipeline_scale.Cost(cpu_s=0.02, work=work, wall_s=wall)


def test_growth_is_judged_by_processor_time_and_by_wall_time():
    pairs = [(_cost(1.0), _cost(1.02)) for _ in range(7)]
    memory = [160.0, *(160.0 + number for number in range(7))]

    def figures(steps=pairs, ages=pairs, memory=memory, cached=(0.01,)):
        return pipeline_scale.summary(cached, steps, ages, memory)

    assert figures()["holds"]
    assert figures()["step"]["cpu_ratio"] == figures()["old_over_fresh"]["cpu_ratio"] == 1.02
    # A machine that becomes slow does so to both.
    slows = [(_cost(1.0, 0.08 * number), _cost(1.0, 0.08 * number)) for number in range(1, 8)]
    assert figures(ages=slows)["holds"]
    for worse in ([(_cost(1.0), _cost(1.0, wall=0.1))] * 7, [(_cost(1.0), _cost(1.2))] * 7):
        assert not figures(steps=worse)["holds"]
        assert not figures(ages=worse)["holds"]
    assert figures(ages=[(_cost(1.0), _cost(1.0, wall=0.1))] * 7)["old_over_fresh"]["wall_ratio"] == 1.25
    assert not figures(memory=[160.0 + 3 * number for number in range(8)])["holds"]
    assert not figures(cached=(0.01, 2.1))["holds"]


def test_a_family_that_is_not_wholly_cached_or_an_environment_that_is_slow_does_not_hold():
    quick = {"max_s": 0.1, "ran": {}}
    assert cached_rerun.summary({"a": {"cacheable_steps": quick}})["holds"]
    for bad in ({"max_s": 2.1}, {"ran": {"Train": 1.0}}):
        families = {"a": {"cacheable_steps": quick}, "b": {"cacheable_steps": {**quick, **bad}}}
        assert not cached_rerun.summary(families)["holds"]

    def checked(dev):
        times = {"check prod": 4.0, "check dev": dev, "cfn-lint alone prod": 3.0, "cfn-lint alone dev": 3.0}
        samples = {name: Sample((seconds,)) for name, seconds in times.items()}
        return check.summary(samples, {"prod": 5, "dev": 6})

    assert checked(4.9)["holds"]
    assert not checked(5.1)["holds"]
    assert checked(5.1)["dev"]["ratio"]["median"] == 1.7
