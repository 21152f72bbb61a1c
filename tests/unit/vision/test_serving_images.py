"""Models of images loaded beside others: nobody waits for them, and none takes more than its files."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.vision.asgi import ask
from tests.unit.vision.vision_support import COLOURS, drawn, encoded
from training.common import backbones, image_model
from training.common.manifest import ModelError
from training.serving import images
from training.serving.models import memory_of
from training.serving.server import make_app
from training.serving.settings import Settings

PNG = "image/png"
PICTURE = encoded(drawn(COLOURS["red"], 99, (60, 50)))


@pytest.fixture
def app(trained, tmp_path, monkeypatch):
    """A multi-model server with two models to load, `a` and `b`."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    for name in ("a", "b"):
        shutil.copytree(trained.root / "model", tmp_path / "models" / name / "model")
    return make_app(Settings(multi_model=True))


def load(app, name):
    document = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
    return ask(app, "POST", "/models", json.dumps(document).encode())


def invoke(app, name):
    return ask(app, "POST", f"/models/{name}/invoke", PICTURE, content_type=PNG)


@pytest.mark.parametrize("step", ["create", "_difference", "_replay"])
def test_no_step_of_a_load_keeps_another_model_waiting(app, monkeypatch, step):
    reached, release, real = threading.Event(), threading.Event(), getattr(image_model, step)

    def held(*arguments):
        reached.set()
        assert release.wait(60)
        return real(*arguments)

    async def scenario():
        loaded = await load(app, "a")
        monkeypatch.setattr(image_model, step, held)
        loading = asyncio.create_task(load(app, "b"))
        try:
            assert await asyncio.to_thread(reached.wait, 30)
            async with asyncio.timeout(30):
                answer = await invoke(app, "a")
            assert not loading.done()
        finally:
            release.set()
        return loaded.status, answer, (await loading).status, (await invoke(app, "b")).json

    loaded, answer, loading, other = asyncio.run(scenario())
    assert (loaded, answer.status, loading) == (200, 200, 200)
    assert answer.json["label"] == other["label"] == "red"


def test_threads_that_load_take_no_cpu_of_those_that_predict(app):
    before = images._PREDICTING.submit(torch.get_num_threads).result()
    assert asyncio.run(load(app, "a")).status == 200
    assert images._LOADING.submit(torch.get_num_threads).result() == 1
    assert images._PREDICTING.submit(torch.get_num_threads).result() == before == images.usable_cpus()


@pytest.fixture
def created(monkeypatch):
    """The networks that were made, each by the kinds of memory that its numbers lie in."""
    made = []

    def create(*arguments):
        network = backbones.create(*arguments)
        made.append({value.device.type for value in network.state_dict().values()})
        return network

    monkeypatch.setattr(image_model, "create", create)
    return made


def change(folder, image=None, **members):
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document |= members
    document["image"] |= image or {}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("image", "members"),
    [
        ({"backbone": "resnet50"}, {}),
        ({"backbone": "vit_giant_patch14_clip_224"}, {}),
        ({}, {"classes": [str(number) for number in range(250_000)]}),
    ],
)
def test_a_small_archive_that_names_a_large_network_is_refused_before_that_exists(
    model_folder, created, image, members
):
    change(model_folder, image, **members)
    with pytest.raises(ModelError, match=r"^model.safetensors is not the weights of [a-z0-9_]+: '[^\n]+$"):
        image_model.load_image_model(model_folder)
    assert created == [{"meta"}]


def test_a_file_of_other_numbers_is_refused(model_folder, created):
    state = image_model.safe_open(model_folder / "model.safetensors", "pt")
    with state as file:
        tensors = {name: file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118  no mapping
    from safetensors.torch import save_file

    save_file(tensors, model_folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"is F16 \[.*, not torch.float32 \["):
        image_model.load_image_model(model_folder)
    assert created == [{"meta"}]


def test_what_a_network_makes_beside_its_weights_has_a_bound(model_folder, monkeypatch):
    """Numbers that are in no file, so that the file's size says nothing of them."""
    made = []

    def create(*arguments):
        network = backbones.create(*arguments)
        network.register_buffer("table", torch.empty(10**9), persistent=False)
        made.append(network.table.device.type)
        return network

    monkeypatch.setattr(image_model, "create", create)
    with pytest.raises(ModelError, match="needs 4,000,000,000 bytes beside weights that are smaller"):
        image_model.load_image_model(model_folder)
    assert made == ["meta"]


def test_a_small_table_beside_the_weights_is_made(model_folder, monkeypatch):
    def create(*arguments):
        network = backbones.create(*arguments)
        network.register_buffer("table", torch.ones(3), persistent=False)
        return network

    monkeypatch.setattr(image_model, "create", create)
    assert image_model.load_image_model(model_folder).network.table.tolist() == [1, 1, 1]


def test_the_budget_counts_at_least_what_a_model_takes(model_folder):
    network: nn.Module = image_model.load_image_model(model_folder).network
    tensors = [*network.parameters(), *network.buffers()]
    assert all(tensor.device.type == "cpu" for tensor in tensors)
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) <= memory_of(model_folder)


def test_golden_images_have_a_bound(model_folder):
    golden = json.loads((model_folder / "manifest.json").read_text())["golden"]
    for name in ("instances", "predictions"):
        golden[name] = golden[name][:1] * (image_model.MAX_GOLDEN + 1)
    change(model_folder, golden=golden)
    with pytest.raises(ModelError, match="has more than 32 golden images"):
        image_model.load_image_model(model_folder)


def test_a_model_stays_whole_when_its_file_is_cut(model_folder):
    model = image_model.load_image_model(model_folder)
    pixels = [model.pixels(PICTURE)]
    before = model.predict(pixels)
    with (model_folder / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    assert model.predict(pixels) == before


@pytest.mark.parametrize(("size", "largest"), [(32, 32), (224, 32), (448, 8), (2048, 1)])
def test_large_images_are_predicted_a_few_at_a_time(model_folder, size, largest):
    calls = []

    def network(tensor):
        calls.append(len(tensor))
        return torch.zeros(len(tensor), 3)

    model = image_model.load_image_model(model_folder)
    model = replace(model, network=network, input=replace(model.input, size=size, side=size))
    image = np.zeros((1, 1, 3), np.uint8)
    assert len(model.predict([image] * 40)) == 40
    assert max(calls) == largest
    assert sum(calls) == 40
