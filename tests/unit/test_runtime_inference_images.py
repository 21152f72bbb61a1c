"""Predictions for images in S3: what reaches the model, and what is answered where that cannot be."""

import base64
import dataclasses
import json
import threading

import pytest
from botocore.exceptions import ReadTimeoutError
from inference_runtime.images import MAX_BYTES
from inference_runtime.settings import IMAGE_SECONDS, Settings

from modelyard.runtime.limits import INVOKE_BYTES
from tests.unit.inference_world import SETTINGS, FakeBucket, World, client_error

A, B = "s3://data/images/a.png", "https://data.s3.eu-west-1.amazonaws.com/images/b.jpg"


@pytest.fixture
def world():
    return World(bucket=FakeBucket({"images/a.png": b"first", "images/b.jpg": b"second"}))


def ask(world, *images, **members):
    return world.send({"model": "loans", "images": list(images), **members})


def refused(world, *images):
    status, content, _ = ask(world, *images)
    return status, content["error"]["code"], content["error"]["message"]


def test_images_are_read_and_predicted_in_order(world):
    status, content, _ = ask(world, B, A, B)
    assert (status, content["version"], content["predictions"]) == (200, 3, [1.5] * 3)
    (call,) = world.endpoint.calls
    assert call["ContentType"] == "application/json"
    sent = json.loads(call["Body"])["instances"]
    assert [base64.b64decode(instance.pop("image")) for instance in sent] == [b"second", b"first", b"second"]
    assert sent == [{}, {}, {}]


def test_one_client_for_all_requests_and_none_for_rows(world):
    world.send()
    assert world.bucket.made == 0
    for _ in range(3):
        ask(world, A)
    assert world.bucket.made == 1


def test_without_a_place_images_are_refused(world):
    world = World()
    assert refused(world, A)[:2] == (422, "images_not_taken")


@pytest.mark.parametrize(
    ("images", "status", "code", "message"),
    [
        ([], 422, "invalid_images", "images is empty"),
        ([A, 3], 422, "invalid_images", "images[1] is a number"),
        ([A, {"uri": A}], 422, "invalid_images", "images[1] is an object"),
        ([A] * 5, 422, "too_many_images", "images holds 5; send at most 4"),
        (
            [A, "s3://data/raw/loans.csv"],
            422,
            "image_not_allowed",
            "images[1] does not lie below s3://data/images/",
        ),
        ([A, "http://169.254.169.254/"], 422, "image_not_allowed", "images[1] does not lie where images may"),
    ],
)
def test_what_is_refused_is_not_read(world, images, status, code, message):
    found = refused(world, *images)
    assert found[:2] == (status, code)
    assert message in found[2]
    assert world.bucket.reads == world.endpoint.calls == []


def test_images_and_rows_are_asked_for_apart(world):
    status, content, _ = ask(world, A, instances=[{"x": 1}])
    assert (status, content["error"]["code"]) == (400, "malformed_body")
    assert "both given" in content["error"]["message"]
    status, content, _ = world.send({"model": "loans", "images": A})
    assert (status, content["error"]["code"]) == (400, "malformed_body")
    assert "images is a string" in content["error"]["message"]


def test_an_unknown_model_costs_no_read_of_images(world):
    status, content, _ = ask(world, A, model="theirs")
    assert (status, content["error"]["code"]) == (404, "unknown_model")
    assert world.bucket.reads == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (client_error("NoSuchKey", 404), 404, "image_not_found"),
        (client_error("AccessDenied", 403), 404, "image_denied"),
        (client_error("InvalidObjectState", 403), 422, "invalid_images"),
        (client_error("SlowDown", 503), 503, "images_unavailable"),
        (client_error("InternalError", 500), 503, "images_unavailable"),
        (client_error("NoSuchBucket", 404), 503, "images_unavailable"),
        (client_error("PermanentRedirect", 301), 503, "images_unavailable"),
        (ReadTimeoutError(endpoint_url="https://s3"), 503, "images_unavailable"),
    ],
)
def test_an_image_that_s3_does_not_give(world, error, status, code, capsys):
    world.bucket.errors["images/b.jpg"] = error
    found = refused(world, A, B)
    assert found[:2] == (status, code)
    assert "images[1]" in found[2]
    assert "its message" not in found[2]
    assert world.endpoint.calls == []
    capsys.readouterr()
    assert ask(world, A)[0] == 200


def test_images_fill_what_sagemaker_takes_and_no_more(world):
    world.bucket.objects["images/a.png"] = bytes(MAX_BYTES)
    assert ask(world, A)[0] == 200
    body = world.endpoint.calls[0]["Body"]
    assert INVOKE_BYTES - 4 < len(body) <= INVOKE_BYTES
    json.loads(body)
    world.bucket.objects["images/a.png"] += b"x"
    status, code, message = refused(world, A)
    assert (status, code) == (413, "images_too_large")
    assert f"images[0] has {MAX_BYTES + 1} bytes" in message


@pytest.mark.parametrize("count", [2, 3, 4])
def test_together_they_fill_it_too(world, count):
    share = (INVOKE_BYTES - 16 - 14 * count) // count // 4 * 3
    world.bucket.objects["images/a.png"] = bytes(share)
    assert ask(world, *[A] * count)[0] == 200
    assert INVOKE_BYTES - 4 * (count + 2) < len(world.endpoint.calls[0]["Body"]) <= INVOKE_BYTES
    world.bucket.objects["images/a.png"] = bytes(share + 3 * 5)
    assert refused(world, *[A] * count)[:2] == (413, "images_too_large")


def test_what_does_not_fit_is_not_read_into_memory(world):
    read = []

    class Huge:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size):
            read.append(size)
            return b"x" * size

    for length, expected in ((10**12, (413, "images_too_large")), (None, (503, "images_unavailable"))):
        size = {} if length is None else {"ContentLength": length}
        world.bucket.get_object = lambda Bucket, Key, size=size: {**size, "Body": Huge()}
        assert refused(world, A)[:2] == expected
    assert read == []


def test_an_object_that_trickles_ends_at_the_time_limit(world):
    class Trickle:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, _):
            world.now += 1
            return b"x"

    world.bucket.get_object = lambda Bucket, Key: {"ContentLength": 10**6, "Body": Trickle()}
    status, content, headers = ask(world, A)
    assert (status, content["error"]["code"], headers["retry-after"]) == (503, "images_unavailable", "5")
    assert world.now <= IMAGE_SECONDS + 2


def test_images_are_read_side_by_side(world):
    meeting = threading.Barrier(4)
    plain = world.bucket.get_object

    def get_object(**call):
        meeting.wait(timeout=60)
        return plain(**call)

    world.bucket.get_object = get_object
    assert ask(world, A, B, A, B)[0] == 200


@pytest.mark.parametrize("original", [400, 413])
def test_what_the_model_refuses_is_the_callers(world, original):
    members = {"OriginalStatusCode": original, "OriginalMessage": '{"error": "image 1 is truncated"}'}
    world.endpoint.errors = [client_error("ModelError", 424, **members)]
    assert refused(world, A) == (422, "invalid_images", "image 1 is truncated")


def test_a_canary_is_drawn_and_covered_for(world, capsys):
    world.table.canary, world.table.percent = 4, 50
    assert ask(world, A)[1]["version"] == 4
    world.endpoint.broken[4] = client_error("ModelError", 424, OriginalStatusCode=500, OriginalMessage="no")
    assert ask(world, A, B)[1]["version"] == 3
    assert world.endpoint.asked == ["loans/4-abc.tar.gz"] * 2 + ["loans/3-abc.tar.gz"]
    assert len(world.bucket.reads) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [(line["Version"], line["Errors"], line["rows"]) for line in lines if "Version" in line]
    assert counted == [("4", 0, 1), ("4", 1, 2), ("3", 0, 2)]


def test_the_log_has_no_address(world, capsys):
    ask(world, A, "https://data.s3.eu-west-1.amazonaws.com/images/a.png?X-Amz-Signature=secret")
    assert "secret" not in capsys.readouterr().out


def test_settings_go_through_the_environment():
    with_images = dataclasses.replace(SETTINGS, image_bucket="data", image_prefix="images/", max_images=7)
    assert Settings.from_environment(with_images.to_environment()) == with_images
    assert with_images.timeout_seconds == SETTINGS.timeout_seconds + IMAGE_SECONDS
    assert not [name for name in SETTINGS.to_environment() if "IMAGE" in name]
    assert dataclasses.replace(with_images, retry_seconds=800).timeout_seconds <= 900


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"image_bucket": "data"}, "go together"),
        ({"image_prefix": "images/"}, "go together"),
        ({"image_bucket": "data", "image_prefix": "images"}, "must end in '/'"),
        ({"max_images": 0}, "max_images is 0"),
        ({"max_images": 65}, "max_images is 65"),
    ],
)
def test_settings_that_cannot_be(members, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, **members)
