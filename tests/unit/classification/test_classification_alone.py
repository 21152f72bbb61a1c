"""Rows of a forest predict the same to the last bit, whatever rows are beside them."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.common.classifier import LightgbmPredictor


@pytest.fixture(scope="module", params=[2, 4])
def predictor(request):
    chance = np.random.default_rng(3)
    rows = chance.normal(size=(600, 5))
    rows[chance.random(rows.shape) < 0.1] = np.nan
    rows[:, 4] = chance.integers(0, 9, 600)
    classes = request.param
    objective = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    data = lightgbm.Dataset(rows, chance.integers(0, classes, 600), categorical_feature=[4])
    booster = lightgbm.train({**objective, "verbose": -1, "num_threads": 1}, data, 20)
    return LightgbmPredictor(booster), rows.astype(np.float32)


@given(start=st.integers(0, 599), count=st.integers(1, 200))
def test_alone_and_together(predictor, start, count):
    model, rows = predictor
    together = model.probabilities(rows[start : start + count])
    assert np.array_equal(together[0], model.probabilities(rows[start : start + 1])[0])
