"""What waits has a bound, whatever it waits for, and is counted where the metrics show it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections import Counter, OrderedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.serving import server
from training.serving.http import HttpError
from training.serving.models import ModelStore

LIMIT = 4
EMPTY = {"instances": []}


@pytest.fixture
def place(container, model_folder):
    """Puts a copy of the model where SageMaker unpacks a target model; returns the body of POST /models."""

    def put(name):
        shutil.copytree(model_folder, container.root / "models" / name / "model")
        return {"model_name": name, "url": f"/opt/ml/models/{name}/model"}

    return put


@pytest.fixture
def held(monkeypatch):
    """Loads of model `slow` wait for `held.set()`."""
    release, real = threading.Event(), server.load

    def load(folder):
        if folder.parent.name == "slow":
            assert release.wait(60)
        return real(folder)

    monkeypatch.setattr(server, "load", load)
    yield release
    release.set()


@pytest.fixture
def call(container, serve, place):
    """A server that takes LIMIT requests, with model `other` loaded, and `slow` to be loaded."""
    call = serve(multi_model=True, max_requests=LIMIT)
    assert call("POST", "/models", place("other")).status == 200
    place("slow")
    return call


def gauge(call, name):
    return float(re.search(rf"^serving_{name} (\S+)$", call._app.metrics.text(), re.MULTILINE)[1])


async def settled(call, tasks, waiting):
    """Returns when all but `waiting` of the tasks have an answer."""
    async with asyncio.timeout(60):
        while sum(not task.done() for task in tasks) > waiting:
            await asyncio.sleep(0.001)


def start(call, number, *request):
    return [asyncio.create_task(call.send(*request)) for _ in range(number)]


SLOW = {"model_name": "slow", "url": "/opt/ml/models/slow/model"}


def test_invocations_that_wait_for_a_load_are_admitted_first(call, held):
    """And half of what is taken is left to the models that are loaded."""

    async def scenario():
        (load,) = start(call, 1, "POST", "/models", SLOW)
        await asyncio.sleep(0)  # it has begun
        tasks = start(call, 500, "POST", "/models/slow/invoke", EMPTY)
        await settled(call, tasks, LIMIT // 2)
        seen = gauge(call, "requests_in_flight"), gauge(call, "requests_awaiting_a_load")
        other = await call.send("POST", "/models/other/invoke", EMPTY)
        held.set()
        return seen, other.status, (await load).status, await asyncio.gather(*tasks)

    seen, other, load, answers = call._runner.run(scenario())
    assert seen == (LIMIT // 2, LIMIT // 2)
    assert (other, load) == (200, 200)
    assert Counter(answer.status for answer in answers) == {200: LIMIT // 2, 503: 500 - LIMIT // 2}
    refusal = next(answer for answer in answers if answer.status == 503)
    assert refusal.error == "2 requests wait for models that load, try again"
    assert gauge(call, "requests_in_flight") == gauge(call, "requests_awaiting_a_load") == 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("POST", "/models", SLOW), 409),
        (("GET", "/models/slow"), 200),
    ],
)
def test_whoever_waits_for_the_same_load_is_counted(call, held, request_, status):
    async def scenario():
        (load,) = start(call, 1, "POST", "/models", SLOW)
        await asyncio.sleep(0)
        tasks = start(call, 500, *request_)
        await settled(call, tasks, LIMIT - 1)
        seen = gauge(call, "model_requests_in_flight")
        predicted = await call.send("POST", "/models/other/invoke", EMPTY)
        held.set()
        return seen, predicted.status, (await load).status, await asyncio.gather(*tasks)

    seen, predicted, load, answers = call._runner.run(scenario())
    assert (seen, predicted, load) == (LIMIT, 200, 200)
    assert Counter(answer.status for answer in answers) == {status: LIMIT - 1, 503: 501 - LIMIT}
    assert "busy with 4 loads" in next(answer.error for answer in answers if answer.status == 503)
    assert gauge(call, "model_requests_in_flight") == 0


def test_other_models_are_invoked_while_one_loads(call, held):
    async def scenario():
        (load,) = start(call, 1, "POST", "/models", SLOW)
        async with asyncio.timeout(60):
            answers = [await call.send("POST", "/models/other/invoke", EMPTY) for _ in range(3)]
        assert not load.done()
        held.set()
        return [answer.status for answer in answers], (await load).status

    assert call._runner.run(scenario()) == ([200, 200, 200], 200)


def test_a_load_that_fails_leaves_nobody_counted(call, held, container):
    (container.root / "models" / "slow" / "model" / "model.ubj").write_bytes(b"x")

    async def scenario():
        (load,) = start(call, 1, "POST", "/models", SLOW)
        await asyncio.sleep(0)
        tasks = start(call, 1, "POST", "/models/slow/invoke", EMPTY)
        held.set()
        return [(await task).status for task in (load, *tasks)]

    assert call._runner.run(scenario()) == [400, 400]
    assert gauge(call, "requests_in_flight") == gauge(call, "model_requests_in_flight") == 0


class Echo:
    batch_strategy = "MULTI_RECORD"

    async def answer(self, body, content_type, accept):
        await asyncio.sleep(0)
        return body, "application/json"


REQUESTS = st.sampled_from(["load", "invoke", "describe", "unload"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(REQUESTS, st.sampled_from("ab"), st.booleans()), max_size=40), st.integers(1, 6))
def test_in_any_order_no_more_than_the_limit_wait(tmp_path_factory, asked, limit):
    """Callers go away in the middle, too: nothing is left counted."""
    from training.serving.app import ServingApp
    from training.serving.settings import Settings

    root = tmp_path_factory.mktemp("ml")
    for name in "ab":
        (root / "models" / name).mkdir(parents=True)
    app = ServingApp(
        Settings(multi_model=True, max_requests=limit), ModelStore(lambda _folder: Echo(), 10**6), None
    )

    async def request(kind, name):
        method, path, document = {
            "load": ("POST", "/models", {"model_name": name, "url": str(root / "models" / name)}),
            "invoke": ("POST", f"/models/{name}/invoke", {}),
            "describe": ("GET", f"/models/{name}", {}),
            "unload": ("DELETE", f"/models/{name}", {}),
        }[kind]
        sent = []

        async def receive():
            await asyncio.sleep(0)
            assert app._in_flight <= limit
            assert app._asking <= limit
            assert app._awaiting <= max(1, limit // 2)
            return {"type": "http.request", "body": json.dumps(document).encode()}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        await app(scope, receive, send)
        assert sent[0]["status"] in {200, 404, 409, 503}

    async def scenario():
        tasks = []
        for kind, name, leaves in asked:
            tasks.append(asyncio.create_task(request(kind, name)))
            await asyncio.sleep(0)
            if leaves:
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [error for task in tasks if not task.cancelled() and (error := task.exception())] == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(root))
        asyncio.run(scenario())
    assert (app._in_flight, app._asking, app._awaiting, app._held) == (0, 0, 0, 0)


@pytest.mark.timeout(30)
def test_a_load_that_is_asked_for_again_as_it_ends_is_told(tmp_path):
    """Between a task's last step and what it calls back, others run."""

    async def scenario():
        store = ModelStore(lambda _folder: Echo(), 1000)
        landed = asyncio.get_running_loop().create_future()

        class Models(OrderedDict):
            def __setitem__(self, name, model):
                super().__setitem__(name, model)
                landed.set_result(None)

        store._models = Models()

        async def again():
            await landed
            with pytest.raises(HttpError) as told:
                await store.add("a", "", tmp_path)
            return told.value.status

        asked = asyncio.create_task(again())
        await store.add("a", "", tmp_path)
        return await asked

    assert asyncio.run(scenario()) == 409
