"""Images of several requests are predicted together: each gets its own answers, nobody waits for company."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.serving.images import MAX_BATCH, ImageBatcher


def image(number):
    return np.full((2, 2, 3), number % 256, np.uint8)


class Model:
    """Predicts an image's first value; the first call ends when it may, later ones at once."""

    def __init__(self, *, wait=False):
        self.calls, self.error = [], None
        self.may_end = threading.Event()
        if not wait:
            self.may_end.set()

    def __call__(self, images):
        self.calls.append(len(images))
        assert self.may_end.wait(20)
        if self.error:
            raise self.error
        return [{"label": str(each[0, 0, 0])} for each in images]


async def asked(batcher, requests):
    return await asyncio.gather(
        *(batcher.predict([image(number) for number in each]) for each in requests), return_exceptions=True
    )


@given(st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=6), min_size=1, max_size=12))
def test_each_request_gets_its_own_answers_in_order(requests):
    model = Model()
    found = asyncio.run(asked(ImageBatcher(model, 8), requests))
    assert found == [[{"label": str(number)} for number in each] for each in requests]
    assert sum(model.calls) == sum(map(len, requests))
    assert max(model.calls) <= max(8, *map(len, requests))


def test_what_arrives_while_others_are_predicted_shares_the_next_call():
    model = Model(wait=True)

    async def scenario():
        batcher = ImageBatcher(model)
        first = asyncio.create_task(batcher.predict([image(1)]))
        while not model.calls:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.predict([image(number)])) for number in range(MAX_BATCH + 3)]
        await asyncio.sleep(0.01)
        model.may_end.set()
        await asyncio.gather(first, *others)

    asyncio.run(scenario())
    assert model.calls == [1, MAX_BATCH, 3]


def test_a_caller_that_goes_away_is_not_predicted_for():
    model = Model(wait=True)

    async def scenario():
        batcher = ImageBatcher(model)
        first = asyncio.create_task(batcher.predict([image(1)]))
        while not model.calls:
            await asyncio.sleep(0.001)
        gone, stays = (asyncio.create_task(batcher.predict([image(n)] * n)) for n in (5, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        model.may_end.set()
        await asyncio.gather(first, stays)

    asyncio.run(scenario())
    assert model.calls == [1, 2]


def test_a_failure_reaches_all_that_share_it_and_the_next_are_predicted():
    model = Model()
    model.error = MemoryError("no room")

    async def scenario():
        batcher = ImageBatcher(model)
        failed = await asked(batcher, [[1], [2, 3]])
        model.error = None
        return failed, await batcher.predict([image(4)])

    failed, later = asyncio.run(scenario())
    assert [type(error) for error in failed] == [MemoryError, MemoryError]
    assert later == [{"label": "4"}]


def test_one_model_serves_one_loop_after_another():
    batcher = ImageBatcher(Model())
    for number in range(3):
        assert asyncio.run(batcher.predict([image(number)])) == [{"label": str(number)}]


@pytest.mark.parametrize("images", [MAX_BATCH + 1, 3 * MAX_BATCH])
def test_a_request_with_more_is_predicted_whole(images):
    model = Model()
    (found,) = asyncio.run(asked(ImageBatcher(model), [range(images)]))
    assert len(found) == images
    assert model.calls == [images]
