"""Images to predict: people put them into their folder, the inference function reads them from there."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.local.loop.enforcement import DATA_SCIENTIST, INFERENCE, invoke, refused
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(300)]


def put(story: Story) -> str:
    """An image of the data scientist's; its address."""
    address = f"{story.outputs['ImageFolder']}{uuid.uuid4()}.png"
    bucket, _, key = address.removeprefix("s3://").partition("/")
    story.scientist.client("s3").put_object(Bucket=bucket, Key=key, Body=b"no image, for a model of rows")
    return address


def look_at(story: Story, address: str) -> tuple[int, str]:
    event = {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": json.dumps({"model": MODEL, "images": [address]}),
        "isBase64Encoded": False,
    }
    answer = json.loads(invoke(story, "inference/InferenceFunction", event)["payload"])
    return answer["statusCode"], json.loads(answer["body"])["error"]["code"]


@pytest.mark.parametrize("action", ["s3:PutObject", "kms:GenerateDataKey"])
def test_people_put_images_into_their_folder(story: Story, action: str) -> None:
    folder = "/images/" if action.startswith("s3:") else ""
    with refused(story, DATA_SCIENTIST, action, folder), pytest.raises(ClientError, match="AccessDenied"):
        put(story)
    put(story)


@pytest.mark.parametrize(("action", "resource"), [("s3:GetObject", "/images/"), ("kms:Decrypt", "<DataKey>")])
def test_the_function_reads_images(story: Story, action: str, resource: str) -> None:
    address = put(story)
    with refused(story, INFERENCE, action, story.names.written(resource)):
        assert look_at(story, address) == (404, "image_denied")
    # It was read, and shown to a model that takes none.
    assert look_at(story, address) == (422, "invalid_images")
