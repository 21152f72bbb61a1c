"""What the benchmarks compute from what they measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import Window
from benchmarks.serving import Plain, Turn, summary
from benchmarks.xgboost_host import FOLDS, partition


@settings(deadline=None)
@given(rows=st.integers(FOLDS, 500), repetition=st.integers(0, 50))
def test_each_row_is_held_out_once_and_never_trained_on_then(rows: int, repetition: int) -> None:
    held_out = []
    for fold in range(FOLDS):
        parts = partition(rows, repetition, fold)
        assert sorted(np.concatenate(parts)) == list(range(rows))
        held_out += parts[2].tolist()
    assert sorted(held_out) == list(range(rows))


def test_a_share_is_of_its_own_round():
    """A machine that halves its speed in one round changes no share."""
    window = Window(requests=100, per_second=600.0, p50_ms=2.0, p99_ms=8.0, client_cpu=0.5)
    slow = replace(window, per_second=300.0)
    peer = replace(window, per_second=200.0), replace(window, per_second=100.0)
    figures = summary(
        [Plain(1000.0, 1000.0), Plain(500.0, 1000.0)],
        {
            "modelyard": [Turn(window, 700.0), Turn(slow, 700.0)],
            "(does nothing)": [Turn(window, 700.0)] * 2,
            "peer": [Turn(peer[0], 200.0), Turn(peer[1], 200.0)],
        },
    )
    ours, other = figures["servers"]
    assert (ours["share_of_in_process"], ours["share_min"], ours["share_max"]) == (0.6, 0.6, 0.6)
    assert (ours["ours"], other["ours"], figures["times_best_peer"]) == (True, False, 3.0)
    assert figures["holds"]


def test_a_share_p99_or_peer_out_of_bounds_does_not_hold():
    good = Window(requests=100, per_second=600.0, p50_ms=2.0, p99_ms=8.0, client_cpu=0.5)

    def holds(ours, peer=100.0):
        turns = {"modelyard": [Turn(ours, 1.0)], "(does nothing)": [Turn(good, 1.0)]}
        other = {"peer": [Turn(replace(good, per_second=peer), 1.0)]}
        return summary([Plain(1000.0, 1.0)], turns | other)["holds"]

    assert holds(good)
    assert not holds(replace(good, per_second=590.0))
    assert not holds(replace(good, p99_ms=10.1))
    assert not holds(good, peer=301.0)


@pytest.mark.torch
def test_every_image_of_133_classes_arrives_and_memory_is_watched(tmp_path):
    from benchmarks import image_scale

    images = 5 * image_scale.CLASSES
    measured = image_scale.run(tmp_path, images, size=(40, 30), side=32)
    assert (measured["classes"], measured["accepted"]) == (133, images)
    # By hash: a tenth each, give or take.
    splits = measured["splits"]
    assert sum(splits.values()) == images
    assert 30 < splits["test"] < 110
    assert 30 < splits["validation"] < 110
    for run in measured["runs"].values():
        assert run.cpu_seconds > 0
        assert run.peak_bytes > 10e6

    def holds(peak=200, of_fewer=200, **changes):
        def with_peak(megabytes):
            runs = measured["runs"].items()
            return {name: replace(run, peak_bytes=megabytes * 1_000_000) for name, run in runs}

        whole, part = ({**measured, "runs": with_peak(size)} for size in (peak, of_fewer))
        return image_scale.summary({**whole, **changes}, part)["holds"]

    assert holds()
    assert not holds(splits={**splits, "train": splits["train"] - 1})
    assert not holds(classes=132)
    assert not holds(peak=301, of_fewer=301)
    assert not holds(peak=200, of_fewer=130)


def test_tables_of_any_length_are_made_of_real_rows(tmp_path):
    from benchmarks import table_scale

    (tmp_path / "known.csv").write_text("id,target,x\nA,1,0.5\nB,2,\n")
    size = table_scale.repeat(tmp_path / "known.csv", tmp_path / "many" / "rows.csv", 5)
    written = (tmp_path / "many" / "rows.csv").read_bytes().decode()
    assert size == len(written)
    lines = written.split()
    assert lines[0] == "id,target,x"
    assert [line.partition(",")[2] for line in lines[1:]] == ["1,0.5", "2,", "1,0.5", "2,", "1,0.5"]
    assert len({line.partition(",")[0] for line in lines[1:]}) == 5


def test_memory_of_the_largest_step_counts():
    from benchmarks.step_process import Run
    from benchmarks.table_scale import BOUND_BYTES, summary

    def holds(peak):
        runs = {"validate": Run(1.0, 1.0, 50_000_000), "train": Run(1.0, 1.0, peak)}
        return summary(10, {"regression": (1, runs)})["holds"]

    assert holds(BOUND_BYTES)
    assert not holds(BOUND_BYTES + 1)
