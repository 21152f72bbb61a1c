"""A multi-model server: load, list, get, unload and invoke as SageMaker drives them."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.manifest import ModelError
from training.serving.http import HttpError
from training.serving.models import MEMORY_FACTOR, ModelStore, memory_of


@pytest.fixture
def place(container, model_folder):
    """Puts a copy of the model where SageMaker unpacks a target model; returns the body of POST /models."""

    def put(name):
        folder = container.root / "models" / name / "model"
        shutil.copytree(model_folder, folder)
        return {"model_name": name, "url": f"/opt/ml/models/{name}/model"}

    return put


@pytest.fixture
def golden(model_folder):
    return json.loads((model_folder / "manifest.json").read_text())["golden"]


@pytest.fixture
def call(container, serve):
    return serve(multi_model=True)


def test_a_model_is_loaded_invoked_and_unloaded(call, place, golden):
    body = place("abc")
    assert call("POST", "/models", body).status == 200
    assert call("GET", "/models/abc").json == {"modelName": "abc", "modelUrl": "/opt/ml/models/abc/model"}
    answer = call("POST", "/models/abc/invoke", {"instances": golden["instances"]})
    assert answer.json["predictions"] == pytest.approx(golden["predictions"], abs=1e-4)
    assert call("DELETE", "/models/abc").status == 200
    assert call("POST", "/models/abc/invoke", {"instances": []}).status == 404
    assert call("POST", "/models", body).status == 200


def test_a_loaded_model_is_a_conflict(call, place):
    body = place("abc")
    call("POST", "/models", body)
    answer = call("POST", "/models", body)
    assert (answer.status, answer.error) == (409, "model abc is already loaded")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_model_is_not_found(call, method):
    answer = call(method, "/models/abc")
    assert (answer.status, answer.error) == (404, "model abc is not loaded")


def test_the_list_has_pages(call, place):
    for name in ("b", "a", "c"):
        call("POST", "/models", place(name))
    first = call("GET", "/models?limit=2").json
    assert [model["modelName"] for model in first["models"]] == ["a", "b"]
    second = call("GET", f"/models?limit=2&next_page_token={first['nextPageToken']}").json
    assert [model["modelName"] for model in second["models"]] == ["c"]
    assert "nextPageToken" not in second
    assert call("GET", "/models").json["models"] == first["models"] + second["models"]


def test_a_page_begins_where_the_one_before_ended_whatever_was_unloaded(call, place):
    for name in ("a", "b", "c", "d/é"):
        call("POST", "/models", place(name))
    first = call("GET", "/models?limit=2").json
    for name in ("a", "b"):
        call("DELETE", f"/models/{name}")
    second = call("GET", f"/models?limit=1&next_page_token={first['nextPageToken']}").json
    assert [model["modelName"] for model in second["models"]] == ["c"]
    third = call("GET", f"/models?limit=2&next_page_token={second['nextPageToken']}").json
    assert [model["modelName"] for model in third["models"]] == ["d/é"]


def test_a_name_may_hold_a_slash_and_no_name_is_taken_for_a_route(call, place):
    for name in ("a", "a/invoke"):
        assert call("POST", "/models", place(name)).status == 200
    asked = {"instances": []}
    assert call("POST", "/models/a%2Finvoke/invoke", asked).status == 200
    assert call("GET", "/models/a%2Finvoke").json["modelName"] == "a/invoke"
    assert call("DELETE", "/models/a%2Finvoke").status == 200
    assert call("POST", "/models/a/invoke", asked).status == 200
    for path in (
        "/modelsa/invoke",
        "/models//invoke",
        "/models/a/invoke/",
        "/models/a/b/c",
        "/models/a//invoke",
    ):
        answer = call("POST", path, asked)
        assert (answer.status, "is no route" in answer.error) == (404, True)


@pytest.mark.parametrize("name", ["x" * 1025, "\ud800"])
def test_a_name_that_no_path_can_hold_is_refused(call, place, name):
    answer = call("POST", "/models", {**place("a"), "model_name": name})
    assert (answer.status, "model_name needs" in answer.error) == (400, True)


def test_without_sagemaker_the_server_makes_room_itself(serve, place, container, model_folder):
    """What was used last stays; one that never fits is 507, and takes nothing out."""
    size = memory_of(model_folder)
    call = serve(multi_model=True, evict=True, model_bytes=int(2.5 * size))
    bodies = [place(name) for name in ("a", "b", "c")]
    assert [call("POST", "/models", body).status for body in bodies[:2]] == [200, 200]
    assert call("POST", "/models/a/invoke", {"instances": []}).status == 200
    assert call("POST", "/models", bodies[2]).status == 200
    assert [model["modelName"] for model in call("GET", "/models").json["models"]] == ["a", "c"]
    huge = place("huge")
    (container.root / "models" / "huge" / "model" / "more").write_bytes(b"0" * 2 * size)
    assert call("POST", "/models", huge).status == 507
    assert len(call("GET", "/models").json["models"]) == 2
    assert "serving_evictions_total 1" in call._app.metrics.text()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m["golden"].update(instances=[], predictions=[]), "no golden rows"),
        (lambda m: m.pop("golden"), "is not a manifest"),
        (lambda m: m["golden"].update(predictions=m["golden"]["predictions"][:1]), "not one prediction"),
        (lambda m: m["golden"]["predictions"].__setitem__(0, float("nan")), "NaN is not a value"),
        (lambda m: m["golden"].update(tolerance=1e300), "tolerance is not from 0 to 1"),
        (lambda m: m["golden"].update(tolerance=-1), "tolerance is not from 0 to 1"),
        (lambda m: m["golden"].update(tolerance=10**400), "is not a manifest"),
        (lambda m: m.update(id=[]), "id is neither text nor null"),
        (lambda m: m.update(framework="pickle"), "is not served here"),
        (lambda m: m.update(model="../model.ubj"), "is not the name of a file"),
        (lambda m: m.update(training="no"), "is not a manifest"),
    ],
)
def test_a_manifest_that_proves_nothing_is_refused(call, place, container, change, expected):
    body = place("abc")
    path = container.root / "models" / "abc" / "model" / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    answer = call("POST", "/models", body)
    assert (answer.status, expected in answer.error) == (400, True), answer.error


def test_a_manifest_that_is_nested_too_deeply_is_refused(call, place, container):
    body = place("abc")
    (container.root / "models" / "abc" / "model" / "manifest.json").write_text("[" * 100_000)
    assert call("POST", "/models", body).status == 400


def test_loads_beyond_the_limit_are_told_to_come_back(serve, place, monkeypatch):
    from training.serving import server

    release, real = threading.Event(), server.load

    def slow(folder):
        assert release.wait(60)
        return real(folder)

    monkeypatch.setattr(server, "load", slow)
    call = serve(multi_model=True, max_requests=2)
    bodies = [place(name) for name in ("a", "b", "c")]

    async def scenario():
        loads = [asyncio.create_task(call.send("POST", "/models", body)) for body in bodies[:2]]
        await asyncio.sleep(0.05)
        refused = await call.send("POST", "/models", bodies[2])
        release.set()
        return refused.status, [(await load).status for load in loads]

    assert call._runner.run(scenario()) == (503, [200, 200])


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "next_page_token=-1", "next_page_token=x"]
)
def test_a_bad_page_is_refused(call, query):
    assert call("GET", f"/models?{query}").status == 400


def test_a_full_server_says_507_until_a_model_is_unloaded(serve, place, model_folder):
    call = serve(multi_model=True, model_bytes=int(2.5 * memory_of(model_folder)))
    bodies = [place(name) for name in ("a", "b", "c")]
    assert [call("POST", "/models", body).status for body in bodies] == [200, 200, 507]
    call("DELETE", "/models/a")
    assert call("POST", "/models", bodies[2]).status == 200


def test_a_model_larger_than_the_budget_is_507(serve, place):
    answer = serve(multi_model=True, model_bytes=1000)("POST", "/models", place("a"))
    assert answer.status == 507
    assert "of 1000 are free" in answer.error


def test_first_calls_at_the_same_time_load_once(call, place, monkeypatch):
    from training.serving import server

    loads = []
    real = server.load

    def counted(folder):
        loads.append(folder)
        return real(folder)

    monkeypatch.setattr(server, "load", counted)
    body = place("abc")
    answers = call.together(
        *[("POST", "/models", body)] * 4, ("POST", "/models/abc/invoke", {"instances": []})
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 409, 409, 409]
    assert len(loads) == 1


def test_ping_answers_while_a_model_loads(call, place, monkeypatch):
    from training.serving import server

    release = threading.Event()
    real = server.load

    def slow(folder):
        assert release.wait(60)
        return real(folder)

    monkeypatch.setattr(server, "load", slow)

    async def scenario():
        load = asyncio.create_task(call.send("POST", "/models", place("abc")))
        await asyncio.sleep(0.01)
        ping = await call.send("GET", "/ping")
        release.set()
        return ping, await load

    ping, load = call._runner.run(scenario())
    assert (ping.status, load.status) == (200, 200)


def test_a_failed_load_leaves_room_and_may_be_repeated(call, place, container):
    body = place("abc")
    manifest = container.root / "models" / "abc" / "model" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"3.2.0"', '"3.0.5"'))
    answer = call("POST", "/models", body)
    assert answer.status == 400
    assert "was trained with xgboost 3.0.5, this image has 3.2.0" in answer.error
    assert call("GET", "/models").json == {"models": []}
    manifest.write_text(text)
    assert call("POST", "/models", body).status == 200


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, 'needs the form {"model_name"'),
        ({"model_name": "", "url": "/opt/ml/models/a/model"}, 400, "needs the form"),
        ({"model_name": "a", "url": 3}, 400, "needs the form"),
        ({"model_name": "a", "url": "/opt/ml/models/none/model"}, 404, "does not exist"),
        ({"model_name": "a", "url": "/opt/ml/models/../../../../../../../../etc"}, 400, "is not a folder in"),
        ({"model_name": "a", "url": "/etc"}, 400, "is not a folder in"),
        ({"model_name": "a", "url": "\0"}, 404, "does not exist"),
    ],
)
def test_a_bad_load_request_is_refused(call, place, body, status, expected):
    place("a")
    answer = call("POST", "/models", body)
    assert answer.status == status
    assert expected in answer.error


def test_a_link_out_of_the_models_folder_is_refused(call, container, model_folder):
    (container.root / "models" / "abc").mkdir(parents=True)
    (container.root / "models" / "abc" / "model").symlink_to(model_folder)
    answer = call("POST", "/models", {"model_name": "abc", "url": "/opt/ml/models/abc/model"})
    assert (answer.status, "is not a folder in" in answer.error) == (400, True)


def test_a_link_inside_a_model_is_refused(call, container, place, model_folder):
    body = place("abc")
    path = container.root / "models" / "abc" / "model" / "model.ubj"
    path.unlink()
    path.symlink_to(model_folder / "model.ubj")
    answer = call("POST", "/models", body)
    assert (answer.status, "not a plain file" in answer.error) == (400, True)


def test_there_is_no_single_model_route(call):
    assert call("POST", "/invocations", {"instances": []}).status == 404
    assert call("GET", "/ping").status == 200
    assert call("GET", "/execution-parameters").status == 200


class Nothing:
    def answer(self, body, content_type, accept):
        return b"", content_type


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    actions=st.lists(st.tuples(st.sampled_from(["add", "remove", "get"]), st.integers(0, 2), st.booleans())),
)
def test_the_budget_holds_in_any_order_of_actions(tmp_path_factory, sizes, actions):
    """Whatever is loaded, unloaded or fails to load, together and in any order: never over the budget."""
    root = tmp_path_factory.mktemp("models")
    for index, size in enumerate(sizes):
        (root / str(index)).mkdir()
        (root / str(index) / "model").write_bytes(b"x" * size)
    broken = set()

    def load(folder):
        if folder.name in broken:
            raise ModelError("broken")
        return Nothing()

    budget = 50 * MEMORY_FACTOR
    store = ModelStore(load, budget)

    async def act(action, index, fails):
        name = str(index)
        broken.discard(name)
        if fails:
            broken.add(name)
        try:
            if action == "add":
                await store.add(name, name, root / name)
            elif action == "remove":
                await store.remove(name)
            else:
                await store.get(name)
        except HttpError as error:
            statuses.add(error.status)

    statuses = set()

    async def scenario():
        for start in range(0, len(actions), 3):
            await asyncio.gather(*(act(*action) for action in actions[start : start + 3]))
            used = sum(model.size for model in store.loaded())
            assert used <= budget
            assert store._used == used
            assert not store._loading

    asyncio.run(scenario())
    assert statuses <= {400, 404, 409, 507}


def test_requests_at_the_same_time_get_the_predictions_that_each_gets_alone(call, place, golden):
    call("POST", "/models", place("abc"))
    bodies = [{"instances": [row] * (1 + index % 3)} for index, row in enumerate(golden["instances"])]
    calls = [("POST", "/models/abc/invoke", body) for body in bodies]
    alone = [call(*each).body for each in calls]
    assert [answer.body for answer in call.together(*calls)] == alone
    assert len(set(alone)) > 1
