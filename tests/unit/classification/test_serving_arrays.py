"""A model made of arrays that takes its time leaves the event loop to the others."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.unit.classification.array_models_support import (
    ENCODER,
    PREPARATION,
    ROWS,
    forest,
    models,
    write_folder,
)
from training.common import array_models
from training.common.array_models import KINDS, ArrayModel
from training.serving.tabular import INLINE_SECONDS

INSTANCES = [
    {feature.name: value for feature, value in zip(ENCODER.features, row, strict=True)} for row in ROWS
]


@pytest.fixture
def client(serve, tmp_path, monkeypatch):
    """`client(model)` -> a client of a server with this model alone."""

    def start(model):
        write_folder(tmp_path / "ml" / "model", model)
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
        return serve()

    return start


def test_others_are_answered_while_a_forest_predicts(client, monkeypatch):
    """A small request, which is read on the event loop, and a forest as large as tuning makes one."""
    asked = client(ArrayModel("random-forest", PREPARATION, forest(600, 30)))
    predicts, answered, waited = threading.Event(), threading.Event(), []

    def slow(arrays, rows):
        predicts.set()
        waited.append(answered.wait(60))
        return KINDS["random-forest"](arrays, rows)

    monkeypatch.setattr(array_models, "KINDS", {"random-forest": slow})

    async def both():
        prediction = asyncio.create_task(asked.send("POST", "/invocations", {"instances": INSTANCES}))
        while not predicts.is_set():
            await asyncio.sleep(0)
        ping = await asked.send("GET", "/ping")
        answered.set()
        return ping, await prediction

    with asyncio.Runner() as runner:
        ping, prediction = runner.run(both())
    assert (ping.status, prediction.status, waited) == (200, 200, [True])
    assert len(prediction.json["predictions"]) == len(ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_model_predicts_where_it_is_asked(client, kind, monkeypatch):
    """A thread would cost more than the prediction."""
    asked, where = client(models()[kind]), []
    predict = KINDS[kind]

    def noted(arrays, rows):
        where.append(threading.current_thread())
        return predict(arrays, rows)

    monkeypatch.setattr(array_models, "KINDS", {kind: noted})
    assert asked("POST", "/invocations", {"instances": INSTANCES}).status == 200
    assert where == [threading.current_thread()]


def test_what_a_row_takes_grows_with_the_model():
    small, large = (
        ArrayModel("random-forest", PREPARATION, forest(trees, depth)).row_seconds
        for trees, depth in ((100, 8), (600, 30))
    )
    assert small * 5 < INLINE_SECONDS < large * 2
