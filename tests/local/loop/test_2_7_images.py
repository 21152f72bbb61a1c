"""Images to predict: people put them into their folder, the inference function reads them from there.

The model of digits serves since the chapter on families.
"""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from modelyard_cli import registry
from modelyard_cli.errors import CliError
from modelyard_cli.predict import invoke_images
from tests.local.loop.enforcement import DATA_SCIENTIST, INFERENCE, invoke, refused
from tests.local.loop.families import IMAGES, ask, data_of
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


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


@pytest.mark.torch
def test_digits_are_predicted_by_their_addresses(story: Story) -> None:
    with (
        refused(story, INFERENCE, "s3:GetObject", "/images/"),
        pytest.raises(CliError, match=r"/images/.*\.png: 404"),
    ):
        ask(story, IMAGES)

    answer = ask(story, IMAGES)
    assert len(answer["predictions"]) == len(data_of(story, IMAGES).examples)
    for prediction in answer["predictions"]:
        assert prediction["label"] == max(prediction["probabilities"], key=prediction["probabilities"].get)


@pytest.mark.torch
def test_a_person_predicts_a_file(story: Story) -> None:
    chosen = data_of(story, IMAGES)
    answer = story.modelyard(story.scientist, "predict", IMAGES, str(chosen.batch / chosen.examples[0]))
    assert (answer["model"], answer["version"], len(answer["predictions"])) == (IMAGES, 1, 1)


@pytest.mark.torch
def test_images_elsewhere_are_not_read(story: Story) -> None:
    bucket = story.outputs["DataBucketName"]
    key = f"batch/{IMAGES}/{data_of(story, IMAGES).examples[0]}"
    with pytest.raises(CliError, match=r"\.png: 4\d\d"):
        invoke_images(story.outputs["FunctionUrl"], IMAGES, [f"s3://{bucket}/{key}"], story.scientist)


@pytest.mark.torch
def test_a_rejected_model_of_images_is_gone(story: Story) -> None:
    registry.decide(story.approver.client("sagemaker"), IMAGES, 1, "Rejected", None)

    def gone() -> None:
        refusal: str | None = None
        try:
            ask(story, IMAGES)
        except CliError as error:
            refusal = str(error)
        assert refusal, "it still answers"
        assert "404" in refusal

    eventually(gone)
    # The others answer as before.
    assert story.predict(story.data.examples[:1])["model"] == MODEL
