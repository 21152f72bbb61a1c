"""What a job leaves: its best and its last model with figures, where it delivers them itself."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from training.common.archive import unpack
from training.common.image_model import load_image_model
from training.vision import release, train
from training.vision.elastic.output import OUTPUT
from training.vision.measuring import Measured


@pytest.fixture
def job(trained, other_container, monkeypatch):
    """A job that delivers into a folder."""
    container = other_container("job")
    for name in ("train", "validation", "classes"):
        container.channel(name, trained.output(name))
    container.hyperparameters(epochs=3, learning_rate=0.003)
    monkeypatch.setenv(OUTPUT, str(container.root / "out"))
    return container


@pytest.fixture
def told(monkeypatch):
    found = []
    monkeypatch.setattr(train.Watch, "finished", lambda _self, models=(): found.extend(models))
    return found


@pytest.fixture
def best_is(monkeypatch):
    """Has the validation find an epoch the best one."""

    def choose(epoch):
        measured, count = train.measure, [0]

        def measure(*arguments):
            count[0] += 1
            found = measured(*arguments)
            return Measured(found.loss, 0.9 if count[0] == epoch else 0.1, found.top5)

        monkeypatch.setattr(train, "measure", measure)

    return choose


def unpacked(job, place):
    folder = job.root / "unpacked" / place
    unpack(job.root / "out" / place / "model.tar.gz", folder)
    load_image_model(folder)
    return load_file(folder / "model.safetensors")


def test_the_best_and_the_last_are_delivered_and_measured(trained, job, told, best_is):
    job.channel("test", trained.output("test"))
    best_is(2)
    train.main([])
    assert [model["name"] for model in told] == ["last", "best"]
    last, best = told
    assert (last["archive"], best["archive"]) == ("last/model.tar.gz", "model.tar.gz")
    assert (last["figures"]["epoch"], best["figures"]["epoch"]) == ("3 of 3", "2 of 3")
    weights = {name: unpacked(job, name) for name in ("", "last")}
    assert not all(torch.equal(value, weights["last"][name]) for name, value in weights[""].items())
    kept = load_file(job.root / "model" / "model.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in weights[""].items())
    for model in told:
        document = json.loads((job.root / "out" / model["metrics"]).read_text())
        assert document["split"] == "test"
        assert (
            document["rows"]
            == json.loads((trained.output("evaluation") / "evaluation.json").read_text())["rows"]
        )
        top1 = document["classification_metrics"]["top1"]["value"]
        assert f"{top1:.4f}" == model["figures"]["top1"]


def test_the_last_is_delivered_once_where_it_is_the_best(job, told, best_is):
    """Without held-out images it is measured on those that it was chosen by, and that is told."""
    best_is(3)
    train.main([])
    (model,) = told
    assert model["name"] == "best"
    assert model["figures"]["measured_on"].endswith(" images of validation")
    assert not (job.root / "out" / "last").exists()


def test_where_the_platform_copies_the_model_nothing_is_measured_again(job, told, monkeypatch):
    monkeypatch.delenv(OUTPUT)

    def measured(*_arguments):
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(release, "measure", measured)
    train.main([])
    assert told == []
    assert (job.root / "model" / "model.safetensors").is_file()
