"""What the benchmark of the image path computes, and that the server and the loop do the same work."""

from __future__ import annotations

import json

import pytest

from benchmarks.image_path import Network, Rate, agree, make_photo, summary, write_image_model
from training.common.payloads import instance_of
from training.serving.server import make_app
from training.serving.settings import Settings


def test_a_share_is_of_its_own_round_and_each_must_hold():
    def measured(each, together):
        plain = [Rate(100.0, 100.0), Rate(50.0, 100.0), Rate(100.0, 100.0)]
        return {"plain": plain, "an image each": each, "8 in JSON": together}

    good = [Rate(95.0, 98.0), Rate(48.0, 97.0), Rate(110.0, 99.0)]
    slow = [Rate(80.0, 98.0)] * 2 + [Rate(200.0, 99.0)]
    figures = summary({"net": measured(good, good)})
    first = figures["rows"][0]
    assert (first["share_of_plain_loop"], first["share_min"], first["share_max"]) == (0.96, 0.95, 1.1)
    assert first["share_per_cpu_second"] == 0.98
    assert figures["holds"]
    assert summary({"net": measured(good, slow)})["holds"]
    bad = [Rate(80.0, 98.0), Rate(44.0, 90.0), Rate(85.0, 90.0)]
    assert not summary({"net": measured(good, good), "other": measured(good, bad)})["holds"]


def test_server_and_loop_predict_the_same(tmp_path, monkeypatch, asgi):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    model, photo = write_image_model(tmp_path, Network("test_resnet", 36, 32)), make_photo()
    call = asgi(make_app(Settings(multi_model=True)))
    load = {"model_name": "bench", "url": "/opt/ml/models/bench/model"}
    assert call("POST", "/models", json.dumps(load).encode(), "application/json").status == 200
    together = json.dumps({"instances": [instance_of(photo)] * 3}).encode()
    answers = [
        call("POST", "/models/bench/invoke", photo, "image/jpeg").body,
        call("POST", "/models/bench/invoke", together, "application/json").body,
    ]
    assert len(json.loads(answers[1])["predictions"]) == 3
    agree(model, photo, answers)
    wrong = b'{"label": "class 1", "probabilities": {"class 1": 0.99}}'
    with pytest.raises(RuntimeError, match="the server predicts"):
        agree(model, photo, [wrong])
