"""Predictions that share a call: each caller gets what it would have got alone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.serving.batching import Batcher


class Model:
    """Doubles numbers, refuses negative ones, and remembers the size of each call."""

    def __init__(self):
        self.calls = []

    def predict(self, rows):
        self.calls.append(len(rows))
        if any(row[0] < 0 for row in rows):
            raise ValueError("negative")
        return [row[0] * 2 for row in rows]


def together(batcher, requests, cancelled=()):
    async def scenario():
        tasks = [asyncio.create_task(batcher.predict(rows)) for rows in requests]
        await asyncio.sleep(0)
        for index in cancelled:
            tasks[index].cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    return asyncio.run(scenario())


@given(
    requests=st.lists(st.lists(st.tuples(st.integers(-1, 20)), min_size=1, max_size=6), max_size=12),
    max_rows=st.integers(1, 10),
    cancelled=st.sets(st.integers(0, 11)),
)
def test_everybody_gets_what_they_would_alone(requests, max_rows, cancelled):
    gone = {index for index in cancelled if index < len(requests)}
    model = Model()
    answers = together(Batcher(model.predict, max_rows), requests, gone)
    for index, (rows, answer) in enumerate(zip(requests, answers, strict=True)):
        if index in gone:
            assert isinstance(answer, asyncio.CancelledError)
        elif any(value < 0 for (value,) in rows):
            assert isinstance(answer, ValueError)
        else:
            assert answer == [value * 2 for (value,) in rows]
    assert all(size <= max(max_rows, *map(len, requests)) for size in model.calls)


def test_requests_of_one_moment_share_a_call():
    model = Model()
    assert together(Batcher(model.predict), [[(1,)], [(2,), (3,)], [(4,)]]) == [[2], [4, 6], [8]]
    assert model.calls == [4]


def test_a_later_request_gets_a_call_of_its_own():
    model = Model()
    batcher = Batcher(model.predict)

    async def scenario():
        return [await batcher.predict([(1,)]), await batcher.predict([(2,)])]

    assert asyncio.run(scenario()) == [[2], [4]]
    assert model.calls == [1, 1]


def test_a_fault_shows_whose_it_was():
    model = Model()
    good, bad = together(Batcher(model.predict), [[(1,)], [(-1,)]])
    assert good == [2]
    with pytest.raises(ValueError, match="negative"):
        raise bad
