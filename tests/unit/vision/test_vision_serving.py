"""The server with a model of images: an image or JSON in, classes out, one clear line for anything else."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.serving import NAME as ROWS_MODEL
from benchmarks.serving import make_model
from tests.unit.vision.vision_support import COLOURS, drawn, encoded
from training.common.failure import UserError
from training.serving.server import make_app
from training.serving.settings import Settings

PNG, JSON = "image/png", "application/json"
REPO = Path(__file__).parents[3]


def instances(*images):
    found = [{"image": base64.b64encode(image).decode()} for image in images]
    return json.dumps({"instances": found}).encode()


def picture(name="red", kind="PNG", size=(60, 50)):
    return encoded(drawn(COLOURS[name], 99, size), kind)


def bomb(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))


@pytest.mark.parametrize("name", sorted(COLOURS))
@pytest.mark.parametrize(
    ("content_type", "kind"),
    [(PNG, "PNG"), ("image/jpeg", "JPEG"), ("application/x-image", "PNG"), ("Image/JPEG; q=1", "JPEG")],
)
def test_an_image_is_classified(call, name, content_type, kind):
    answer = call("POST", "/invocations", picture(name, kind), content_type=content_type)
    assert (answer.status, answer.content_type) == (200, JSON)
    assert answer.json["label"] == name
    assert set(answer.json["probabilities"]) == set(COLOURS)
    assert sum(answer.json["probabilities"].values()) == pytest.approx(1)
    assert next(iter(answer.json["probabilities"])) == name


def test_json_holds_several(call):
    body = instances(*[picture(name, size=(300, 40)) for name in COLOURS])
    answer = call("POST", "/invocations", body, content_type=JSON, accept="application/json")
    assert [item["label"] for item in answer.json["predictions"]] == list(COLOURS)
    assert call("POST", "/invocations", instances()).json == {"predictions": []}


def test_golden_images_are_answered_as_recorded(call, trained):
    golden = json.loads((trained.root / "model" / "manifest.json").read_text())["golden"]
    answer = call("POST", "/invocations", json.dumps({"instances": golden["instances"]}).encode(), JSON)
    for found, stored in zip(answer.json["predictions"], golden["predictions"], strict=True):
        assert found["label"] == stored["label"]
        assert found["probabilities"] == pytest.approx(stored["probabilities"], abs=golden["tolerance"])


NOISE = encoded(Image.effect_noise((90, 90), 50))
FRAMES = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"", PNG, 400, "the image is empty"),
        (b"hello", PNG, 400, "the image is neither a JPEG nor a PNG image"),
        (encoded(Image.new("RGB", (9, 9)), "GIF"), "application/x-image", 400, "neither a JPEG nor a PNG"),
        (NOISE[:900], PNG, 400, "the image is truncated or broken"),
        (encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]), PNG, 400, "is animated (2 frames)"),
        (bomb(60_000, 60_000), PNG, 413, "pixels"),
        (bomb(1001, 1000), PNG, 413, "has 1001 x 1000 pixels, more than 1,000,000"),
        (bomb(2**31 - 1, 2**31 - 1), PNG, 413, "pixels"),
        (picture(), "image/gif", 415, "content type 'image/gif' is not one of image/jpeg, image/png"),
        (picture(), "text/csv", 415, "content type 'text/csv'"),
        (b"{", JSON, 400, "the body is not JSON"),
        (b"[]", JSON, 400, 'the body needs the form {"instances"'),
        (b'{"instances": [5]}', JSON, 400, 'image 1 needs the form {"image": "<base64>"}'),
        (b'{"instances": [{"image": "?"}]}', JSON, 400, "image 1 is not base64"),
        (b'{"instances": [{"image": "\xc3\xbc"}]}', JSON, 400, "image 1 is not base64"),
        (
            b'{"instances": [{"image": "", "url": "s3://x"}]}',
            JSON,
            400,
            "image 1 has an unknown member 'url'",
        ),
        (instances(picture(), NOISE[:900]), JSON, 400, "image 2 is truncated or broken"),
        (instances(*[b"x"] * 9), JSON, 413, "more than 8 images in one request"),
    ],
)
def test_what_is_hostile_or_broken_is_refused_with_one_line(call, body, content_type, status, reason):
    answer = call("POST", "/invocations", body, content_type=content_type)
    assert answer.status == status
    assert reason in answer.json["error"]
    assert "\n" not in answer.json["error"]
    assert call("POST", "/invocations", picture(), content_type=PNG).status == 200


def test_only_json_is_answered(call):
    answer = call("POST", "/invocations", picture(), content_type=PNG, accept="text/csv")
    assert (answer.status, answer.json["error"]) == (
        406,
        "cannot answer with text/csv, only application/json",
    )
    assert call("POST", "/invocations", picture(), content_type=PNG, accept="text/html, */*").status == 200


def test_batch_transform_sends_one_image_at_a_time(call):
    assert call("GET", "/execution-parameters").json["BatchStrategy"] == "SINGLE_RECORD"


def test_a_broken_model_is_refused_with_its_reason(model_folder, tmp_path, monkeypatch):
    hosting = tmp_path / "hosting"
    hosting.mkdir()
    (hosting / "model").symlink_to(model_folder)
    (model_folder / "model.safetensors").write_bytes(b"x")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(hosting))
    with pytest.raises(UserError, match=r"cannot be served: model.safetensors is not the weights"):
        make_app(Settings())


HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "PIL", "safetensors", "torchvision"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
importlib.util.find_spec = lambda name, package=None: None if name in ("torch", "timm") else True
"""


def without_torch(script, base):
    return subprocess.run(
        [sys.executable, "-c", HIDE + script],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        env={"SAGEMAKER_BASE_DIR": str(base), "PATH": ""},
    )


@pytest.mark.parametrize("step", ["validate", "preprocess", "train", "evaluate"])
def test_without_pytorch_a_step_says_what_to_do_in_one_line(tmp_path, step):
    script = f"import runpy; runpy.run_module('training.vision.{step}', run_name='__main__')"
    result = without_torch(script, tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        "error: steps on images need timm, torch: use the image of vision.Dockerfile; "
        "locally run: python3 tools/setup.py vision\n"
    )
    assert "python3 tools/setup.py vision" in (tmp_path / "output" / "failure").read_text()


def test_without_pytorch_the_server_says_so(trained, tmp_path):
    (tmp_path / "model").symlink_to(trained.root / "model")
    script = (
        "from training.common.failure import run\n"
        "from training.serving.server import make_app\n"
        "from training.serving.settings import Settings\n"
        "raise SystemExit(run(lambda _: make_app(Settings()), []))"
    )
    result = without_torch(script, tmp_path)
    assert result.returncode == 1
    assert "is a model of images, and" in result.stderr
    assert "python3 tools/setup.py vision" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_endpoint_without_pytorch_serves_rows_and_says_what_a_model_of_images_needs(trained, tmp_path):
    shutil.copytree(trained.root / "model", tmp_path / "models" / "digits" / "model")
    make_model(tmp_path)
    script = f"""
sys.path.insert(0, "tests/unit/vision")
from asgi import requests_to
from training.serving.server import make_app
from training.serving.settings import Settings
call = requests_to(make_app(Settings(multi_model=True)))
for name in ("digits", "{ROWS_MODEL}"):
    body = '{{"model_name": "%s", "url": "/opt/ml/models/%s/model"}}' % (name, name)
    answer = call("POST", "/models", body.encode(), "application/json")
    print(answer.status, answer.body.decode())
"""
    result = without_torch(script, tmp_path)
    assert result.returncode == 0, result.stderr
    refusal, loaded = result.stdout.splitlines()
    assert refusal.startswith('400 {"error": "model digits: is a model of images, and ')
    assert "serve with the image of serving.Dockerfile" in refusal
    assert loaded.startswith("200")


def test_one_server_holds_models_of_rows_and_of_images(trained, tmp_path, monkeypatch, asgi):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    shutil.copytree(trained.root / "model", tmp_path / "models" / "digits" / "model")
    make_model(tmp_path)
    call = asgi(make_app(Settings(multi_model=True)))
    for name in ("digits", ROWS_MODEL):
        document = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
        assert call("POST", "/models", json.dumps(document).encode(), content_type=JSON).status == 200
    body = instances(picture("red"))
    assert call("POST", "/models/digits/invoke", body, JSON).json["predictions"][0]["label"] == "red"
    row = json.dumps({"instances": [{f"feature_{number}": 0.5 for number in range(20)}]}).encode()
    assert isinstance(call("POST", f"/models/{ROWS_MODEL}/invoke", row, JSON).json["predictions"][0], float)
    refusal = call("POST", f"/models/{ROWS_MODEL}/invoke", body, JSON)
    assert refusal.status == 400
    assert "image" in refusal.json["error"]


def test_one_server_holds_several_models(trained, tmp_path, monkeypatch, asgi):
    """Multi-model: loaded by name; a broken one is refused, and the others serve on."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    for name in ("good", "bad"):
        shutil.copytree(trained.root / "model", tmp_path / "models" / name / "model")
    (tmp_path / "models" / "bad" / "model" / "model.safetensors").write_bytes(b"x")
    call = asgi(make_app(Settings(multi_model=True)))

    def load(name):
        document = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
        return call("POST", "/models", json.dumps(document).encode(), content_type=JSON)

    assert load("good").status == 200
    refusal = load("bad")
    assert (refusal.status, "is not the weights" in refusal.json["error"]) == (400, True)
    answer = call("POST", "/models/good/invoke", picture("grün"), content_type=PNG)
    assert answer.json["label"] == "grün"
