"""What the benchmark of recoveries makes of a job's lines."""

from __future__ import annotations

import json
import time
from typing import ClassVar

from benchmarks.elastic_job import EVERY, Job
from benchmarks.recovery import FAULTS, Recovery, measure, recovery, summary
from benchmarks.recovery_timeline import Life


def test_a_recovery_ends_with_the_first_step_that_is_done():
    before = Life(0.0, 1, 2, [(0.0, 0), (4.0, 38)])
    resumed = Life(9.0, 1, 1, [(9.0, 20), (9.1, 20)])
    assert recovery([before], 4.2) is None
    assert recovery([before, resumed], 4.2) is None
    resumed.points.append((9.2, 22))
    assert recovery([before, resumed], 4.2) == Recovery(seconds=5.0, lost=18, still=5.2)


def test_steps_that_are_done_on_the_way_to_a_stop_are_not_lost():
    lives = [Life(0.0, 1, 2, [(0.0, 0), (4.0, 38), (4.4, 41)]), Life(8.0, 1, 1, [(8.0, 41), (8.2, 43)])]
    assert recovery(lives, 4.2) == Recovery(seconds=4.0, lost=0, still=3.8)


def test_hosts_that_come_are_waited_for_until_all_train():
    alone, both = Life(0.0, 1, 2, [(0.0, 0), (4.0, 38), (6.0, 50)]), Life(9.0, 1, 3, [(9.0, 50), (9.2, 52)])
    assert recovery([alone, both], 4.2, hosts=4) is None
    four = Life(12.0, 1, 4, [(12.0, 52), (12.5, 53)])
    assert recovery([alone, both, four], 4.2, hosts=4) == Recovery(seconds=8.3, lost=0, still=3.3)
    # One that came first may have cost steps that are not seen from the last one.
    both.points[0] = (9.0, 40)
    assert recovery([alone, both, four], 4.2, hosts=4) == Recovery(seconds=8.3, lost=10, still=3.3)


def test_hosts_that_come_cost_no_step():
    assert not summary({"grown": [Recovery(9.0, 1)]})["holds"]
    assert summary({"shrunk": [Recovery(9.0, EVERY)]})["holds"]


def test_a_machine_without_namespaces_says_why_a_line_was_not_cut(monkeypatch):
    def refuse():
        raise OSError("unshare failed: Operation not permitted")

    monkeypatch.setattr("benchmarks.recovery.Network", refuse)
    monkeypatch.setattr("benchmarks.recovery.run_step", lambda *given: None)
    monkeypatch.setattr("benchmarks.recovery.run", lambda root, dataset, fault: Recovery(5.0, 0))
    figures = measure(rounds=1, faults=("host", "cut"))
    assert list(figures["recoveries"]) == ["host"]
    assert figures["not_measured"] == {
        "cut": "this machine gives no network namespaces: unshare failed: Operation not permitted"
    }


def test_what_a_host_tells_that_is_cut_off_is_of_no_job_any_more(tmp_path):
    class Lines:
        inside: ClassVar[list[str]] = []
        cut_off: ClassVar[list[list[str]]] = []

        def cut(self, inside):
            self.cut_off.append(inside)

    job = Job.__new__(Job)
    job._root, job._network, job._cut = tmp_path, Lines(), {}
    job.hosts, job._lines = {"a": None, "b": None}, {"a": ["in a"], "b": ["in b"]}
    now = time.time()
    told = {
        "a": [("started", now - 9, 0), ("checkpoint", now - 5, 5), ("checkpoint", now + 60, 7)],
        "b": [("resumed", now + 61, 5), ("checkpoint", now + 62, 6)],
    }
    for name, lines in told.items():
        file = tmp_path / "lines" / name / "attempt-001-rank-00000.jsonl"
        file.parent.mkdir(parents=True)
        rows = [
            {"event": event, "time": at, "step": step, "attempt": 1, "hosts": 2} for event, at, step in lines
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [life.last[1] for life in job.lives()] == [7, 6]
    job.cut("a")
    assert Lines.cut_off == [["in a"]]
    assert [life.last[1] for life in job.lives()] == [5, 6]


def test_the_slowest_recovery_and_a_lost_step_decide():
    def holds(**changes):
        found = {name: [Recovery(9.0, 0), Recovery(14.9, 0)] for name in FAULTS} | changes
        return summary(found)["holds"]

    assert holds(all=[Recovery(9.0, EVERY)])
    assert not holds(host=[Recovery(9.0, 0), Recovery(15.1, 0)])
    assert not holds(stopped=[Recovery(9.0, 1)])
    assert not holds(all=[Recovery(9.0, 2 * EVERY + 1)])
    assert summary({"host": [Recovery(9.0, 3)]})["recoveries"]["host"]["lost_steps_at_most"] == 3
