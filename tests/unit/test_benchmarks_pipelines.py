"""How the benchmarks of pipelines count."""

from __future__ import annotations

import json
import sqlite3

import pytest

from benchmarks import critical_path


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
