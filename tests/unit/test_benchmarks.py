"""What the benchmarks compute from what they measure."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.xgboost_host import FOLDS, partition


@given(rows=st.integers(FOLDS, 500), repetition=st.integers(0, 50))
def test_each_row_is_held_out_once_and_never_trained_on_then(rows: int, repetition: int) -> None:
    held_out = []
    for fold in range(FOLDS):
        parts = partition(rows, repetition, fold)
        assert sorted(np.concatenate(parts)) == list(range(rows))
        held_out += parts[2].tolist()
    assert sorted(held_out) == list(range(rows))
