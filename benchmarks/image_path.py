"""What the server adds to decoding, scaling and predicting an image: its throughput against a plain loop's.

The plain loop runs in process on the server's core: PIL decodes a JPEG and scales it, the network predicts
it, one image after the other, with the server's own functions and as many threads, one. Server and client
have a core each, and take turns with the loop. Two networks: one of the default size, whose predictions cost
most of the time, and the smallest there is, which leaves most of it to all the rest. Two forms of request: an
image each, and eight in JSON, as the inference function sends them.

`share_per_cpu_second` is the same share by CPU time: on a quiet machine the two agree, on a busy one it is
the one to trust. Bound: at least 0.9 of the loop's throughput, in each form, with each network.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.load import exchange, load, post
from benchmarks.serving import Server, free_port, running
from training.common.backbones import create
from training.common.image_model import ImageModel, load_image_model
from training.common.manifest import NAME, Golden, ImageInput, Manifest
from training.common.payloads import instance_of

SHARE = 0.9
PHOTO = (500, 375)
CLASSES = tuple(f"class {number}" for number in range(10))
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Network:
    """`side`: of an image after scaling, `size`: what is cut out of it, in pixels."""

    backbone: str
    side: int
    size: int


@dataclass(frozen=True, slots=True)
class Scale:
    networks: tuple[Network, ...] = (Network("resnet10t", 256, 224), Network("test_resnet", 36, 32))
    rounds: int = 9
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Images by second of wall time, and of CPU time."""

    per_second: float
    per_cpu_second: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def measure(scale: Scale | None = None) -> dict[str, Any]:
    scale = scale or Scale()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("needs two cores, one for the server and one for the client")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        return summary({each.backbone: _measure(each, scale, cores[0], cores[1]) for each in scale.networks})
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, cores)


def _measure(network: Network, scale: Scale, server_core: int, client_core: int) -> dict[str, list[Rate]]:
    photo = make_photo()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = write_image_model(Path(folder), network)
        server = _server(Path(folder), photo)
        process = psutil.Process(stack.enter_context(running(server, server_core)).pid)
        together = json.dumps({"instances": [instance_of(photo)] * TOGETHER}).encode()
        forms = {
            "an image each": (post(server.port, server.path, photo, "image/jpeg"), 16, 1),
            f"{TOGETHER} in JSON": (post(server.port, server.path, together), 4, TOGETHER),
        }
        agree(model, photo, [exchange(server.port, request) for request, _, _ in forms.values()])

        def ask(request: bytes, connections: int, images: int) -> Rate:
            os.sched_setaffinity(0, {client_core})
            before = process.cpu_times()
            window = load(server.port, request, connections=connections, seconds=scale.seconds)
            after = process.cpu_times()
            cpu = after.user + after.system - before.user - before.system
            asked = window.requests * images
            return Rate(window.per_second * images, asked / max(cpu, 0.01), window.p50_ms, window.p99_ms)

        def plain() -> Rate:
            os.sched_setaffinity(0, {server_core})
            return _loop(lambda: model.predict([model.pixels(photo)]), scale.seconds)

        rates: dict[str, list[Rate]] = {name: [] for name in ("plain", *forms)}
        for number in range(-1, scale.rounds):
            found = {"plain": plain(), **{name: ask(*form) for name, form in forms.items()}}
            for name, rate in found.items():
                rates[name] += [rate] if number >= 0 else []
        return rates


def _loop(call: Callable[[], object], seconds: float) -> Rate:
    count, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        call()
        count += 1
    return Rate(count / (time.perf_counter() - started), count / (time.process_time() - cpu))


def summary(rates: Mapping[str, Mapping[str, Sequence[Rate]]]) -> dict[str, Any]:
    """By network, medians over the rounds; a share is the median of the rounds' own shares."""
    rows: list[dict[str, Any]] = []
    for backbone, measured in rates.items():
        plain = measured["plain"]
        for form, found in measured.items():
            if form == "plain":
                continue
            shares = [ours.per_second / loop.per_second for ours, loop in zip(found, plain, strict=True)]
            by_cpu = [
                ours.per_cpu_second / loop.per_cpu_second for ours, loop in zip(found, plain, strict=True)
            ]
            rows.append(
                {
                    "network": backbone,
                    "requests": form,
                    "share_of_plain_loop": round(statistics.median(shares), 3),
                    "share_min": round(min(shares), 3),
                    "share_max": round(max(shares), 3),
                    "share_per_cpu_second": round(statistics.median(by_cpu), 3),
                    "images_per_second": round(statistics.median(rate.per_second for rate in found), 1),
                    "plain_per_second": round(statistics.median(rate.per_second for rate in plain), 1),
                    "p50_ms": round(statistics.median(rate.p50_ms for rate in found), 1),
                    "p99_ms": round(statistics.median(rate.p99_ms for rate in found), 1),
                }
            )
    return {
        "rows": rows,
        "bound": SHARE,
        "photo": f"JPEG, {PHOTO[0]} x {PHOTO[1]} pixels",
        "holds": all(row["share_of_plain_loop"] >= SHARE for row in rows),
    }


def make_photo(seed: int = 7) -> bytes:
    """A JPEG with as much detail as a photo of its size, some 60 kB."""
    chance = np.random.default_rng(seed)
    blocks = chance.integers(0, 256, (PHOTO[1] // 8, PHOTO[0] // 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize(PHOTO, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_image_model(folder: Path, network: Network) -> ImageModel:
    """Write an untrained model as SageMaker unpacks it below `folder`, and load it."""
    place = folder / "models" / "bench" / "model"
    place.mkdir(parents=True)
    torch.manual_seed(7)
    weights = create(network.backbone, len(CLASSES), "group").state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, place / "model.safetensors")
    half = (0.5, 0.5, 0.5)
    image = ImageInput(
        backbone=network.backbone, norm="group", size=network.size, side=network.side, mean=half, std=half
    )
    manifest = Manifest(
        framework="torch",
        framework_version=str(torch.__version__).partition("+")[0],
        model="model.safetensors",
        target="class",
        classes=CLASSES,
        image=image,
        golden=Golden(instances=(), predictions=()),
    )
    (place / NAME).write_text(manifest.to_json(), encoding="utf-8")
    model, photo = load_image_model(place), make_photo()
    predicted = model.predict([model.pixels(photo)])
    golden = Golden(instances=(instance_of(photo),), predictions=tuple(predicted), tolerance=1e-3)
    (place / NAME).write_text(replace(manifest, golden=golden).to_json(), encoding="utf-8")
    return model


def _server(folder: Path, photo: bytes) -> Server:
    port = free_port()
    document = json.dumps({"model_name": "bench", "url": "/opt/ml/models/bench/model"}).encode()

    def load_model() -> None:
        try:
            exchange(port, post(port, "/models", document))
        except RuntimeError as error:
            if "409" not in str(error):  # loaded, but its first prediction was not answered in time
                raise

    return Server(
        command=(sys.executable, "-m", "training.container", "serve"),
        path="/models/bench/invoke",
        body=json.dumps({"instances": [instance_of(photo)]}).encode(),
        environment={
            "SAGEMAKER_BASE_DIR": str(folder),
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "UVICORN_HOST": "127.0.0.1",
        },
        port=port,
        before=load_model,
    )


def agree(model: ImageModel, photo: bytes, answers: Sequence[bytes]) -> None:
    """Raise RuntimeError for an answer that is not what the loop predicts."""
    (expected,) = model.predict([model.pixels(photo)])
    for answer in map(json.loads, answers):
        for found in answer.get("predictions", [answer]):
            probabilities = found["probabilities"]
            if any(abs(probabilities.get(k, 0.0) - v) > 1e-4 for k, v in expected["probabilities"].items()):
                raise RuntimeError(f"the server predicts {found}, the loop {expected}")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
