"""Training on one host: what it learns, what it leaves, and what it refuses with one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from tests.unit.vision.vision_support import COLOURS, SIZE, draw_folders
from training.common.backbones import create, freeze_statistics
from training.common.failure import UserError
from training.common.hosts import Hosts
from training.common.image_model import load_image_model, normalized
from training.common.images import centre, decode
from training.common.manifest import ImageInput, ModelError
from training.common.payloads import image_of
from training.vision import preprocess, train
from training.vision.config import PACKAGED, Config
from training.vision.data import Split, batches_of, random_cut
from training.vision.distributed import Group
from training.vision.shards import read_shards
from training.vision.splits import uneven
from training.vision.weights import PACKAGED_MEAN, PACKAGED_STD, packaged_state, start


@pytest.fixture
def manifest(trained):
    return json.loads((trained.root / "model" / "manifest.json").read_text())


def test_it_learns_colours(trained, manifest):
    assert manifest["training"]["validation_top1"] == 1.0
    report = json.loads((trained.output("evaluation") / "evaluation.json").read_text())
    assert report["classification_metrics"]["top1"]["value"] == 1.0
    assert report["baseline"]["top1"]["value"] < 0.6
    assert report["rows"] == len(read_shards(trained.output("test")))


def test_the_archive_says_what_the_model_is(trained, manifest):
    assert sorted(path.name for path in (trained.root / "model").iterdir()) == [
        "manifest.json",
        "model.safetensors",
    ]
    assert (manifest["framework"], manifest["framework_version"]) == (
        "torch",
        torch.__version__.split("+")[0],
    )
    assert manifest["classes"] == sorted(COLOURS)
    assert manifest["image"]["backbone"] == "test_resnet"
    assert (manifest["image"]["size"], manifest["image"]["side"], manifest["image"]["norm"]) == (
        32,
        37,
        "group",
    )
    assert len(manifest["golden"]["instances"]) == 3
    assert manifest["training"]["rows"] == sum(manifest["training"]["class_rows"].values())


def test_the_report_page_shows_it(trained):
    page = (trained.output("evaluation") / "report.html").read_text()
    assert "Confusion matrix" in page
    assert "grün" in page


def test_golden_images_are_replayed(model_folder):
    load_image_model(model_folder)
    path = model_folder / "manifest.json"
    document = json.loads(path.read_text())
    label = document["golden"]["predictions"][0]["label"]
    document["golden"]["predictions"][0]["probabilities"][label] -= 0.1
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match="golden row 0 predicts"):
        load_image_model(model_folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"framework_version": "1.9.0"}, "was trained with torch 1.9.0"),
        ({"framework": "tensorflow"}, "framework 'tensorflow' is not torch"),
        ({"classes": ["a"]}, "two or more different classes, got 1"),
        ({"classes": ["a", "b", "c", "d"]}, "is not the weights of test_resnet"),
        ({"model": "../model.safetensors"}, "not the name of a file"),
        ({"model": "manifest.json"}, "is not the weights of test_resnet"),
    ],
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(model_folder, change, reason):
    path = model_folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=reason):
        load_image_model(model_folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": "resnet9000"}, "backbone 'resnet9000' is not known to timm"),
        ({"backbone": "hf-hub:somebody/something"}, "is not known to timm"),
        ({"norm": "none"}, "neither group nor batch"),
        ({"size": 64}, "not a manifest"),
        ({"side": 10**9}, "not a manifest"),
        ({"std": [1, 1, 0]}, "not a manifest"),
        ({"mean": [0.5]}, "not a manifest"),
    ],
)
def test_an_input_that_makes_no_sense_is_refused(model_folder, change, reason):
    path = model_folder / "manifest.json"
    document = json.loads(path.read_text())
    document["image"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=reason):
        load_image_model(model_folder)


@pytest.fixture
def job(trained, other_container):
    """A training job on the data of `trained`."""
    container = other_container("job")
    for name in ("train", "validation", "classes"):
        container.channel(name, trained.output(name))
    container.hyperparameters(epochs=1)
    return container


def test_the_same_seed_gives_the_same_model(trained, other_container):
    states = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        container = other_container(name)
        for channel in ("train", "validation", "classes"):
            container.channel(channel, trained.output(channel))
        container.hyperparameters(epochs=1, augment="crop_flip", seed=seed)
        train.main([])
        states.append(load_file(container.root / "model" / "model.safetensors"))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_each_epoch_is_logged_and_the_best_one_kept(job, capsys, manifest):
    job.hyperparameters(epochs=3)
    train.main([])
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch") and "loss:" in line
    ]
    assert len(lines) == 3
    values = [dict(item.split(":") for item in line.split(": ", 1)[1].split()) for line in lines]
    kept = json.loads((job.root / "model" / "manifest.json").read_text())["training"]
    best = max(values, key=lambda value: (float(value["validation-top1"]), -float(value["validation-loss"])))
    assert kept["epoch"] == values.index(best) + 1
    assert kept["validation_top1"] == pytest.approx(float(best["validation-top1"]), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": "resnet9000"}, "backbone 'resnet9000' is not known to timm"),
        ({"backbone": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224 does not take images of 32 pixels"),
        ({"image_size": 64}, "image_size is 64, preprocessing prepared images for 32"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": "many"}, "batch_size needs a value of type int"),
        ({"learning_rate": "nan"}, "learning_rate must be above 0"),
        ({"label_smoothing": 1}, "label_smoothing must be below 1"),
        ({"augment": "everything"}, "augment must be one of none, crop, crop_flip"),
        ({"pretrained": "imagenet"}, "pretrained must be one of none, packaged, channel"),
        ({"pretrained": "s3://bucket/model.pt"}, "channel, or s3://bucket/key of a .safetensors file or a"),
        ({"pretrained": "packaged"}, f"pretrained=packaged goes with backbone {PACKAGED} only"),
        ({"pretrained": "channel"}, "training channel 'weights' is missing"),
        ({"momentum": 0.9}, "unknown hyperparameter 'momentum'"),
        ({"backbone": "resnet10t.nobody_in1k"}, "backbone 'resnet10t.nobody_in1k' cannot be made by timm: "),
        ({"backbone": "levit_128s"}, "backbone 'levit_128s' looks at whole batches (BatchNorm1d)"),
        ({"micro_batch_size": -1}, "micro_batch_size must not be negative"),
        ({"clip_norm": "inf"}, "clip_norm must not be negative"),
        ({"ema_decay": 1}, "ema_decay must be below 1, got 1.0"),
        ({"compile": 2}, "compile must be 0 or 1, got 2"),
        ({"deterministic": "yes"}, "deterministic must be one of prefer, require, off, got 'yes'"),
        ({"learning_rate": 1e30}, "the loss is not a number in epoch 1: choose a lower learning_rate"),
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(job, refused, change, reason):
    job.hyperparameters(**({"epochs": 1} | change))
    assert reason in refused(train.main)


def test_a_batch_that_cannot_be_shared_evenly_is_told():
    assert uneven(16, 4) == uneven(16, 1) == ""
    assert uneven(16, 3) == (
        "batch_size 16 over 3 processes is 5 or 6 images each: the model is the same, some wait for others"
    )
    assert uneven(2, 3).startswith("batch_size 2 over 3 processes is 0 or 1 images each")


def test_a_full_disk_is_told_in_a_line(job, refused):
    (job.root / "model").mkdir()
    (job.root / "model" / "manifest.json").symlink_to("/dev/full")
    reason = refused(train.main)
    assert reason.startswith(f"the model cannot be written to {job.root / 'model'}: ")
    assert "No space left on device" in reason


def test_a_class_that_was_not_trained_is_refused(other_container, refused):
    container = other_container("job")
    draw_folders(container.data, 12)
    preprocess.main(["--image-size", str(SIZE)])
    for name in ("train", "validation", "classes"):
        container.channel(name, container.output(name))
    container.hyperparameters()
    path = container.output("classes") / "classes.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"names": [*known["names"], "owl"]}))
    assert "no image of class 'owl' fell into train" in refused(train.main)
    path.write_text(json.dumps(known | {"names": known["names"][:2]}))
    assert "channel train: class 'red' is not in channel classes" in refused(train.main)
    path.write_text("{}")
    assert "classes.json does not name classes" in refused(train.main)
    shutil.rmtree(container.output("validation"))
    container.output("validation").mkdir()
    path.write_text(json.dumps(known))
    assert "channel validation has 0 images" in refused(train.main)


def test_a_model_of_another_job_is_a_start(trained, job, tmp_path, refused, capsys):
    """A trained one is at its accuracy at once, also with a head for other classes."""
    folder = tmp_path / "weights"
    folder.mkdir()
    state = load_file(trained.root / "model" / "model.safetensors")
    save_file(state, folder / "model.safetensors")
    job.channel("weights", folder)
    job.hyperparameters(pretrained="channel", epochs=1, learning_rate=1e-5)
    train.main([])
    assert "validation-top1:1.0" in capsys.readouterr().out
    state["fc.weight"], state["fc.bias"] = torch.zeros(7, 96), torch.zeros(7)
    save_file(state, folder / "model.safetensors")
    train.main([])
    first = next(iter(state))
    save_file({name: value for name, value in state.items() if name != first}, folder / "model.safetensors")
    assert f"tensor {first} is missing" in refused(train.main)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert "model.safetensors is not a safetensors file" in refused(train.main)


def test_the_packaged_weights_know_a_flower():
    """In the wrong order, or with another normalization, they would name something else of 1,000 classes."""
    state = packaged_state()
    assert len([name for name in state if "num_batches_tracked" not in name]) == 247
    network = create(PACKAGED, 1000, "batch").eval()
    network.load_state_dict(state)
    photo = Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg"
    shape = ImageInput(
        backbone=PACKAGED, norm="batch", size=224, side=256, mean=PACKAGED_MEAN, std=PACKAGED_STD
    )
    with torch.inference_mode():
        logits = network(normalized([centre(decode(photo.read_bytes(), 256), 224)], shape))
    assert int(logits.argmax()) == DAISY


def test_packaged_weights_are_taken_but_for_the_classifier():
    state = packaged_state()
    found = start(Config(backbone=PACKAGED, pretrained="packaged", image_size=64), classes=5)
    assert found.norm == "batch"
    assert found.mean == pytest.approx((127 / 255,) * 3)
    own = found.network.state_dict()
    assert all(
        torch.equal(own[name], value) for name, value in state.items() if not name.startswith("classifier")
    )
    assert own["classifier.weight"].shape == (5, 1280)


def test_statistics_of_given_weights_stay():
    network = create("test_resnet", 3, "batch")
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    network.train()
    freeze_statistics(network)
    network(torch.rand(4, 3, 32, 32) * 9)
    assert before
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_byobnet"])
def test_no_network_trained_from_the_start_has_statistics_of_a_batch(backbone):
    network = create(backbone, 3, "group").train()
    assert not [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    images = torch.rand(4, 3, 32, 32)
    together, alone = network(images), torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-4)


def test_the_learning_rate_rises_and_falls():
    config = Config(epochs=10, warmup_epochs=2, learning_rate=0.5)
    rates = [config.rate(step, 10) for step in range(100)]
    assert max(rates) == rates[19] == 0.5
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.001


DAISY = 985  # of the classes of ImageNet
INPUT = ImageInput(backbone="x", norm="group", size=8, side=9, mean=(0, 0, 0), std=(1, 1, 1))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.integers(0, 3))
def test_the_batches_are_the_same_at_any_number_of_hosts(trained, images, batch_size, hosts, epoch):
    entries = read_shards(trained.output("train"))[:images]
    shape = ImageInput(backbone="x", norm="group", size=SIZE, side=37, mean=(0, 0, 0), std=(1, 1, 1))

    def batches(rank, count):
        split = Split(entries, list(range(len(entries))), shape, Hosts(tuple("abcde"[:count]), rank))
        return list(split.training(batch_size, 7, epoch, "crop_flip"))

    whole = batches(0, 1)
    parts = [batches(rank, hosts) for rank in range(hosts)]
    assert all(len(part) == len(whole) for part in parts)
    for step, batch in enumerate(whole):
        pieces = [part[step] for part in parts]
        assert torch.equal(torch.cat([piece.images for piece in pieces]), batch.images)
        assert torch.cat([piece.labels for piece in pieces]).tolist() == batch.labels.tolist()
        assert {piece.total for piece in pieces} == {batch.total} == {len(batch.labels)}


def test_an_epoch_has_each_image_once_in_another_order():
    orders = [np.random.default_rng([7, epoch]).permutation(50) for epoch in (1, 2)]
    assert orders[0].tolist() != orders[1].tolist()
    for order in orders:
        seen = np.concatenate(batches_of(order, 10)).tolist()
        assert sorted(seen) == list(range(50))
    assert len(np.concatenate(batches_of(orders[0], 16))) == 48
    assert len(np.concatenate(batches_of(orders[0], 64))) == 50


def test_validation_measures_each_image_once(trained):
    """Also where the last batch is smaller than the number of hosts."""
    entries = read_shards(trained.output("train"))[:10]
    model = load_image_model(trained.root / "model")
    numbers = [model.manifest.classes.index(entry.label) for entry in entries]
    found = []
    for count in (1, 3):
        sums = np.zeros(3)
        for rank in range(count):
            hosts = Hosts(tuple("abc"[:count]), rank)
            split = Split(entries, numbers, model.input, hosts)
            group = Group(Hosts(("a",), 0), torch.device("cpu"))
            seen = sum(len(batch.labels) for batch in split.evaluation(4))
            found_here = train.measure(model.network, split, group, Config(batch_size=4))
            sums += np.array(dataclasses.astuple(found_here)) * seen
        found.append(sums / len(entries))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_what_training_sees_is_what_serving_sees(trained):
    """Golden images go through decoding as raw bytes; without augmentation training cuts the same pixels."""
    model = load_image_model(trained.root / "model")
    data = image_of(model.manifest.golden.instances[0])
    entry = next(e for e in read_shards(trained.output("validation")) if e.read() == data)
    split = Split([entry], [0], model.input, Hosts(("a",), 0))
    (batch,) = split.training(1, 7, 1, "none")
    (again,) = split.evaluation(1)
    assert torch.equal(batch.images, again.images)
    seen, _ = batch.on(torch.device("cpu"))
    logits = model.network(seen).softmax(1)[0].detach().numpy()
    assert logits == pytest.approx(model.probabilities([model.pixels(data)])[0], abs=1e-6)


def test_a_random_cut_is_a_part_of_the_image(trained):
    from PIL import Image

    image = Image.linear_gradient("L").resize((40, 80)).convert("RGB")
    cuts = [random_cut(image, 16, np.random.default_rng(seed), flip=False) for seed in range(40)]
    assert {cut.shape for cut in cuts} == {(16, 16, 3)}
    assert len({cut.tobytes() for cut in cuts}) == 40
    assert centre(np.asarray(image), 16).shape == (16, 16, 3)


def test_an_image_that_broke_on_its_way_is_named(trained, tmp_path):
    folder = shutil.copytree(trained.output("train"), tmp_path / "train")
    entry = read_shards(folder)[0]
    data = bytearray(entry.shard.read_bytes())
    data[entry.offset : entry.offset + entry.size] = bytes(entry.size)
    entry.shard.write_bytes(data)
    split = Split([entry], [0], INPUT, Hosts(("a",), 0))
    with pytest.raises(UserError, match="cannot be read"):
        list(split.training(1, 7, 1, "none"))
