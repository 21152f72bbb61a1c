"""The encoder: what training fits is what serving applies, whatever the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.encoder import MAX_CATEGORIES, CategoryCounter, Encoder
from training.common.features import Feature

FEATURES = (Feature("age", "numeric"), Feature("state", "categorical"), Feature("job", "categorical"))
words = st.none() | st.text(min_size=1, max_size=5)
numbers = st.none() | st.floats(-1e6, 1e6)
rows = st.lists(st.tuples(numbers, words, words), min_size=1, max_size=30)


def fit(table):
    counter = CategoryCounter(FEATURES)
    for row in table:
        counter.add(row)
    return counter.encoder()


@settings(deadline=None)
@given(table=rows)
def test_json_gives_back_the_same_encoder(table):
    encoder = fit(table)
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    np.testing.assert_array_equal(again.encode(table), encoder.encode(table))


@settings(deadline=None)
@given(table=rows, order=st.randoms())
def test_the_order_of_rows_does_not_matter(table, order):
    shuffled = list(table)
    order.shuffle(shuffled)
    assert fit(shuffled) == fit(table)


@settings(deadline=None)
@given(table=rows)
def test_each_value_becomes_its_number_its_code_or_nan(table):
    encoder = fit(table)
    matrix = encoder.encode(table)
    assert matrix.shape == (len(table), 3)
    assert matrix.dtype == np.float32
    for row, encoded in zip(table, matrix, strict=True):
        for feature, value, cell in zip(FEATURES, row, encoded, strict=True):
            if value is None:
                assert math.isnan(cell)
            elif feature.kind == "numeric":
                assert cell == np.float32(value)
            else:
                assert encoder.categories[feature.name][int(cell)] == value


@settings(deadline=None)
@given(table=rows, unseen=st.text(min_size=6, max_size=9))
def test_an_unseen_category_is_missing(table, unseen):
    assert math.isnan(fit(table).encode([(1.0, unseen, None)])[0, 1])


def test_one_row_encodes_as_it_does_among_others():
    table = [(1.0, "a", "x"), (2.0, "b", None), (None, "a", "y")]
    encoder = fit(table)
    alone = np.concatenate([encoder.encode([row]) for row in table])
    np.testing.assert_array_equal(alone, encoder.encode(table))


def test_no_rows_are_an_empty_matrix():
    assert fit([(1.0, "a", "x")]).encode([]).shape == (0, 3)


def test_only_the_most_frequent_categories_are_kept():
    counter = CategoryCounter((Feature("state", "categorical"),))
    for index in range(MAX_CATEGORIES + 10):
        for _ in range(2 if index < MAX_CATEGORIES else 1):
            counter.add((f"c{index:04d}",))
    categories = counter.encoder().categories["state"]
    assert len(categories) == MAX_CATEGORIES
    assert categories[-1] == f"c{MAX_CATEGORIES - 1:04d}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "features": []}',
        '{"schema": 1, "features": 3}',
        '{"schema": 1, "features": [{"name": "a"}]}',
        '{"schema": 1, "features": [{"name": "a", "kind": "categorical"}]}',
    ],
)
def test_what_is_no_encoder_is_refused(text):
    with pytest.raises(ValueError, match="not an encoder"):
        Encoder.from_json(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1,5", "abc", " "])
def test_a_cell_that_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a"):
        Feature("age", "numeric").parse(text)


@pytest.mark.parametrize("value", [True, "3", [1], math.nan, math.inf, 10**400])
def test_a_member_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="number"):
        Feature("age", "numeric").check(value)


@pytest.mark.parametrize("value", [1, True, ["a"], "x" * 2000])
def test_a_member_that_is_no_category_is_refused(value):
    with pytest.raises(ValueError, match=r"needs text|longer"):
        Feature("state", "categorical").check(value)


def test_a_cell_and_a_member_mean_the_same():
    age, state = FEATURES[:2]
    assert age.parse("1.5") == age.check(1.5)
    assert age.parse("") is age.check(None) is None
    assert state.parse("NY") == state.check("NY")
    assert state.parse("") is state.check("") is None
