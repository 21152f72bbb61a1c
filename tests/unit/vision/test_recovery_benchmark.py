"""What the benchmark of recoveries makes of a job's lines."""

from __future__ import annotations

from benchmarks.recovery import EVERY, FAULTS, Recovery, recovery, summary
from benchmarks.recovery_timeline import Life


def test_a_recovery_ends_with_the_first_step_that_is_done():
    before = Life(0.0, 1, 2, [(0.0, 0), (4.0, 38)])
    resumed = Life(9.0, 1, 1, [(9.0, 20), (9.1, 20)])
    assert recovery([before], 4.2) is None
    assert recovery([before, resumed], 4.2) is None
    resumed.points.append((9.2, 22))
    assert recovery([before, resumed], 4.2) == Recovery(seconds=5.0, lost=18)


def test_steps_that_are_done_on_the_way_to_a_stop_are_not_lost():
    lives = [Life(0.0, 1, 2, [(0.0, 0), (4.0, 38), (4.4, 41)]), Life(8.0, 1, 1, [(8.0, 41), (8.2, 43)])]
    assert recovery(lives, 4.2) == Recovery(seconds=4.0, lost=0)


def test_the_slowest_recovery_and_a_lost_step_decide():
    def holds(**changes):
        found = {name: [Recovery(9.0, 0), Recovery(14.9, 0)] for name in FAULTS} | changes
        return summary(found)["holds"]

    assert holds(all=[Recovery(9.0, EVERY)])
    assert not holds(host=[Recovery(9.0, 0), Recovery(15.1, 0)])
    assert not holds(stopped=[Recovery(9.0, 1)])
    assert not holds(all=[Recovery(9.0, 2 * EVERY + 1)])
    assert summary({"host": [Recovery(9.0, 3)]})["recoveries"]["host"]["lost_steps_at_most"] == 3
