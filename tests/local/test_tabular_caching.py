"""What a change makes SageMaker run again of a tabular pipeline, whose steps have an archive of code each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.catalogue import REGRESSIONS, Pipelines
from localcloud.context import Cloud, Credentials
from tests.local.support import unique

REPO = Path(__file__).parents[2]
SPEC = next(spec for spec in REGRESSIONS if spec.name == "purchase-interest-rate")
STEPS = ["ValidateData", "PreprocessData", "TrainModel", "EvaluateModel"]
RELEASE = {"CheckMse", "RegisterModel", "CreateModel", "BatchTransform"}


@pytest.fixture(scope="module")
def pipelines(cloud: Cloud, admin: Credentials, tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    return Pipelines(cloud, admin, tmp_path_factory.mktemp("loans"), unique("tabular"))


@pytest.fixture(scope="module")
def parameters(pipelines: Pipelines) -> dict[str, str]:
    """Of an execution whose results are in the cache."""
    pipelines.put(SPEC)
    found = pipelines.upload(SPEC, "v1")
    pipelines.wait(pipelines.start(SPEC, found))
    return found


def hits(pipelines: Pipelines, parameters: dict[str, str]) -> list[str]:
    """The steps that an execution takes from the cache; all others of it have run."""
    arn = pipelines.start(SPEC, parameters)
    pipelines.wait(arn)
    steps = pipelines.steps(arn)
    assert {step["StepName"] for step in steps} == {*STEPS, *RELEASE}
    return [step["StepName"] for step in steps if "CacheHitResult" in step]


def changed(module: str) -> dict[str, bytes]:
    path = f"training/tabular/{module}.py"
    return {path: (REPO / path).read_bytes() + b"\n# changed\n"}


def test_the_same_again_runs_only_what_releases_the_model(
    pipelines: Pipelines, parameters: dict[str, str]
) -> None:
    assert hits(pipelines, parameters) == STEPS


@pytest.mark.parametrize(("module", "kept"), [("evaluate", 3), ("train", 2)])
def test_a_change_of_a_step_runs_it_and_what_follows(
    pipelines: Pipelines, parameters: dict[str, str], module: str, kept: int
) -> None:
    pipelines.put(SPEC, changed=changed(module))
    assert hits(pipelines, parameters) == STEPS[:kept]
    # What it was before is still known.
    pipelines.put(SPEC)
    assert hits(pipelines, parameters) == STEPS


def test_new_data_runs_everything(pipelines: Pipelines, parameters: dict[str, str]) -> None:
    assert parameters["InputData"].endswith("/loans.csv")
    assert hits(pipelines, pipelines.upload(SPEC, "v2")) == []


def test_of_data_that_is_refused_the_report_is_there(
    pipelines: Pipelines, parameters: dict[str, str]
) -> None:
    """It names every fault; the execution tells the first of them."""
    bucket, _, key = parameters["InputData"].removeprefix("s3://").partition("/")
    head, row, *rows = pipelines.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
    broken = ",".join(["nonsense"] * (head.count(",") + 1))
    pipelines.s3.put_object(
        Bucket=bucket, Key="raw/broken/loans.csv", Body="\n".join([head, broken, row, *rows]).encode()
    )
    arn = pipelines.start(SPEC, {**parameters, "InputData": f"s3://{bucket}/raw/broken/loans.csv"})
    with pytest.raises(RuntimeError, match=r"Failed.*ValidateData"):
        pipelines.wait(arn)
    (step,) = pipelines.steps(arn)
    job = pipelines.sagemaker.describe_processing_job(
        ProcessingJobName=step["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
    )
    (output,) = job["ProcessingOutputConfig"]["Outputs"]
    prefix = output["S3Output"]["S3Uri"].removeprefix(f"s3://{bucket}/")
    body = pipelines.s3.get_object(Bucket=bucket, Key=f"{prefix}/data_report.json")["Body"].read()
    report = json.loads(body)
    assert report["valid"] is False
    assert "loans.csv line 2: column interest_rate: 'nonsense' is not a number" in report["problems"]
