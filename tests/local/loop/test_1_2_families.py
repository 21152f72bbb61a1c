"""Every family from data to prediction: what began beside the loop has ended, and one URL serves it all."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import urlsplit

import pytest

from modelyard_cli.demo import phases
from modelyard_cli.errors import CliError
from pipeline_defs.catalog import PIPELINES
from tests.local.loop.families import IMAGES, OTHERS, PURCHASE, TUNED, TUNES, ask, data_of, end
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


@pytest.mark.parametrize("model", OTHERS)
def test_the_pipeline_succeeds(story: Story, model: str) -> None:
    execution = end(story, model)

    assert execution["status"] == "Succeeded", execution
    ended = {step["name"] for step in execution["steps"] if step["status"] == "Succeeded"}
    trains = {"TuneModels", "RefitModel"} if model in TUNES else {"TrainModel"}
    assert ended >= {"ValidateData", "PreprocessData", "EvaluateModel", "RegisterModel", "BatchTransform"}
    assert ended >= trains


@pytest.mark.parametrize("model", OTHERS)
def test_its_version_says_where_it_comes_from(story: Story, model: str) -> None:
    sagemaker, s3 = (story.administrator.client(name) for name in ("sagemaker", "s3"))
    (found,) = sagemaker.list_model_packages(ModelPackageGroupName=model)["ModelPackageSummaryList"]
    said = sagemaker.describe_model_package(ModelPackageName=found["ModelPackageArn"])
    metadata = said["CustomerMetadataProperties"]

    assert metadata["execution"] == story.runs[model]
    (spec,) = [spec for spec in PIPELINES if spec.name == model]
    archives = [urlsplit(value) for name, value in metadata.items() if name.endswith("_code")]
    assert len(archives) == len(spec.code)
    for archive in archives:
        stored = s3.get_object(Bucket=archive.netloc, Key=archive.path.lstrip("/"))["Body"].read()
        assert archive.path.endswith(f"/{hashlib.sha256(stored).hexdigest()}.zip")
    table = data_of(story, model).table
    if table.is_file():  # that of a folder of images is over names, too
        assert metadata["input_data_sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()


@pytest.mark.parametrize("model", OTHERS)
def test_approval_puts_it_behind_the_same_url(story: Story, model: str) -> None:
    with pytest.raises(CliError, match=f"404.*{model}"):
        ask(story, model)

    phases.approve(story.approver, model)

    answer = eventually(lambda: ask(story, model))
    assert (answer["model"], answer["version"]) == (model, 1)
    assert len(answer["predictions"]) == len(data_of(story, model).examples)


def test_loans_for_purchase_are_near_the_truth(story: Story) -> None:
    rmse = phases.metrics(story.scientist, PURCHASE)["rmse"]
    for predicted, true in zip(
        ask(story, PURCHASE)["predictions"], data_of(story, PURCHASE).truth, strict=True
    ):
        assert abs(predicted - true) < 3 * rmse


def test_cell_nuclei_are_told_apart(story: Story) -> None:
    labels = [prediction["label"] for prediction in ask(story, TUNED)["predictions"]]
    right = [label == true for label, true in zip(labels, data_of(story, TUNED).truth, strict=True)]
    assert sum(right) >= len(right) - 1, labels
    metrics = phases.metrics(story.approver, TUNED)
    assert metrics["value"] >= metrics["threshold"] > metrics["baseline"]


@pytest.mark.torch
def test_images_are_answered_as_in_the_batch(story: Story) -> None:
    """One epoch teaches little; what it taught is the same for a request and for the batch."""
    (spec,) = [spec for spec in PIPELINES if spec.name == IMAGES]
    bucket, s3 = story.outputs["DataBucketName"], story.scientist.client("s3")
    found = s3.list_objects_v2(Bucket=bucket, Prefix=spec.writes)["Contents"]
    keys = {item["Key"].rpartition("/")[2]: item["Key"] for item in found if "/predictions/" in item["Key"]}
    names = data_of(story, IMAGES).examples
    for name, predicted in zip(names, ask(story, IMAGES)["predictions"], strict=True):
        batch = json.loads(s3.get_object(Bucket=bucket, Key=keys[f"{name}.out"])["Body"].read())
        assert predicted["probabilities"] == pytest.approx(batch["probabilities"], abs=1e-3)


def test_the_first_model_is_served_beside_them(story: Story) -> None:
    assert story.predict(story.data.examples[:1])["model"] == MODEL


def test_nobody_was_refused_anything(story: Story) -> None:
    assert [decision for decision in story.decisions() if not decision.allowed] == []
