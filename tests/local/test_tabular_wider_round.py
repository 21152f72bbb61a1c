"""The wider round of a tabular pipeline: what it trains may pass where the first round did not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.catalogue import REGRESSIONS, Pipelines
from localcloud.context import Cloud, Credentials
from tests.local.support import unique

SPEC = next(spec for spec in REGRESSIONS if spec.name == "purchase-interest-rate")
RELEASE = ("RegisterModelWider", "CreateModelWider", "BatchTransformWider")


@pytest.fixture(scope="module")
def pipelines(cloud: Cloud, admin: Credentials, tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    made = Pipelines(cloud, admin, tmp_path_factory.mktemp("loans"), unique("wider"))
    made.put(SPEC)
    return made


def mse(pipelines: Pipelines, evaluation: dict[str, Any]) -> float:
    """Mean squared error of a step's report."""
    job = pipelines.sagemaker.describe_processing_job(
        ProcessingJobName=evaluation["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
    )
    (output,) = job["ProcessingOutputConfig"]["Outputs"]
    bucket, _, prefix = output["S3Output"]["S3Uri"].removeprefix("s3://").partition("/")
    body = pipelines.s3.get_object(Bucket=bucket, Key=f"{prefix}/evaluation.json")["Body"].read()
    return float(json.loads(body)["regression_metrics"]["mse"]["value"])


def test_a_wider_round_that_passes_is_released(pipelines: Pipelines) -> None:
    given = {**pipelines.upload(SPEC, "v1"), "OnGateFailure": "Retrain"}
    arn = pipelines.start(SPEC, {**given, "MseThreshold": "0.001"})
    with pytest.raises(RuntimeError, match="MseTooHighWider: After the wider round"):
        pipelines.wait(arn)
    steps = {step["StepName"]: step for step in pipelines.steps(arn)}
    first, wider = (mse(pipelines, steps[name]) for name in ("EvaluateModel", "EvaluateModelWider"))
    assert wider < first, "the wider round is no better: it cannot pass where the first one fails"

    arn = pipelines.start(SPEC, {**given, "MseThreshold": f"{(first + wider) / 2:.6f}"})
    pipelines.wait(arn)

    steps = {step["StepName"]: step for step in pipelines.steps(arn)}
    assert [steps[name]["Metadata"]["Condition"]["Outcome"] for name in ("CheckMse", "CheckMseWider")] == [
        "False",
        "True",
    ]
    assert all(steps[name]["StepStatus"] == "Succeeded" for name in RELEASE)
    assert not {"RegisterModel", "MseTooHigh", "MseTooHighWider"} & steps.keys()
    version = pipelines.sagemaker.describe_model_package(
        ModelPackageName=steps["RegisterModelWider"]["Metadata"]["RegisterModel"]["Arn"]
    )
    trained = pipelines.sagemaker.describe_training_job(
        TrainingJobName=steps["TrainModelWider"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[-1]
    )
    (container,) = version["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == trained["ModelArtifacts"]["S3ModelArtifacts"]
    assert f"{wider:.4f}"[:5] in json.dumps(version["ModelCard"])
