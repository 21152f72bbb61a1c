"""Pipelines that the SDK's versions 2 and 3 emitted for AWS's public images, run unmodified."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import shellfish

FOLDER = Path(__file__).parent
SDK = FOLDER.parents[2] / ".venv-sdk" / "bin" / "python"
STEPS = {
    "ShellfishProcess",
    "ShellfishTrain",
    "ShellfishEval",
    "ShellfishMseCond",
    "ShellfishRegisterModel",
    "ShellfishCreateModel",
    "ShellfishTransform",
}
_CODE = re.compile(r"s3://[^/]+/(?P<key>[^\"]+/code/(?P<digest>[0-9a-f]{64})/(?P<name>\w+\.py))")


def definition(version: int) -> str:
    return (FOLDER / "definitions" / f"shellfish-v{version}.json").read_text()


@pytest.fixture(scope="module")
def data(account: Any) -> Any:
    account.put("shellfish/raw.csv", "\n".join(shellfish.lines(1200)) + "\n")
    # What the model takes is what preprocessing made: 10 numbers a row (3 sexes and `missing` one-hot).
    rows = [",".join(f"{0.1 * column:.2f}" for column in range(11)) for _ in range(25)]
    account.put("shellfish/batch.csv", "\n".join(rows) + "\n")
    return account


@pytest.mark.parametrize("version", [2, 3])
def test_the_definitions_name_the_scripts_as_they_are(version: int) -> None:
    found = {match["name"]: match["digest"] for match in _CODE.finditer(definition(version))}
    expected = {
        path.name: hashlib.sha256(f"scripts/{path.name}".encode() + path.read_bytes()).hexdigest()
        for path in (FOLDER / "scripts").glob("*.py")
    }
    assert found == expected, f"emit the definitions again: see the top of shellfish_v{version}.py"


def run(data: Any, name: str, text: str, seconds: float = 120) -> tuple[str, dict[str, Any]]:
    """Create and start a pipeline; its ARN and description at the end."""
    for match in _CODE.finditer(text):
        data.put(match["key"], (FOLDER / "scripts" / match["name"]).read_text())
    sagemaker = data.client("sagemaker")
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=text,
        RoleArn=data.role,
        ClientRequestToken=f"{name}-{'0' * 32}",
        Tags=[{"Key": "team", "Value": "shellfish"}],
    )
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    deadline = time.monotonic() + seconds
    while (answer := sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))[
        "PipelineExecutionStatus"
    ] == "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return arn, answer


@pytest.mark.parametrize("version", [2, 3])
def test_a_pipeline_emitted_by_the_sdk_runs(data: Any, version: int) -> None:
    sagemaker = data.client("sagemaker")
    arn, answer = run(data, f"ShellfishV{version}", definition(version))
    command = [sys.executable, "-m", "awscli", "sagemaker", "list-pipeline-execution-steps"]
    listed = subprocess.run(
        [*command, "--pipeline-execution-arn", arn, "--output", "json"],
        env=data.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    steps = {
        step["StepName"].removesuffix("-RegisterModel").removesuffix("-CreateModel"): step
        for step in json.loads(listed.stdout)["PipelineExecutionSteps"]
    }
    problems = {name: step.get("FailureReason") for name, step in steps.items()}
    assert answer["PipelineExecutionStatus"] == "Succeeded", problems
    assert steps.keys() == STEPS
    scored = data.read(f"s3://{data.bucket}/ShellfishTransform/batch.csv.out").decode().split()
    assert len(scored) == 25
    assert all(0 < float(line) < 40 for line in scored)
    package = sagemaker.describe_model_package(
        ModelPackageName=steps["ShellfishRegisterModel"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    report = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    mse = json.loads(data.read(report))["regression_metrics"]["mse"]["value"]
    assert 0 < mse < 3
    job = steps["ShellfishTrain"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    described = sagemaker.list_training_jobs(NameContains=job[-10:])["TrainingJobSummaries"][0]
    log = data.log("/aws/sagemaker/TrainingJobs", described["TrainingJobName"])
    assert "is made for xgboost 1." in log
    assert re.search(r"^\[39\]#011train-rmse:[0-9.]+#011validation-rmse:[0-9.]+$", log, re.M)


def test_tuning_over_two_algorithms_and_a_refit(data: Any) -> None:
    text = (FOLDER / "definitions" / "tuning-v2.json").read_text()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(FOLDER / "tuned" / "tuned.py", "tuned.py")
    for key in set(re.findall(rf"s3://{data.bucket}/([^\\\"]+/sourcedir\.tar\.gz)", text)):
        data.client("s3").put_object(Bucket=data.bucket, Key=key, Body=buffer.getvalue())
    arn, answer = run(data, "ShellfishTuning", text, 240)
    sagemaker = data.client("sagemaker")
    steps = {
        step["StepName"]: step
        for step in sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
            "PipelineExecutionSteps"
        ]
    }
    problems = {name: step.get("FailureReason") for name, step in steps.items()}
    assert answer["PipelineExecutionStatus"] == "Succeeded", problems
    tuning = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    )
    assert tuning["TrainingJobStatusCounters"]["Completed"] == 4
    best = tuning["BestTrainingJob"]
    refit = sagemaker.list_training_jobs(NameContains="Refit")["TrainingJobSummaries"][0]["TrainingJobName"]
    described = sagemaker.describe_training_job(TrainingJobName=refit)
    with tarfile.open(
        fileobj=io.BytesIO(data.read(described["ModelArtifacts"]["S3ModelArtifacts"]))
    ) as archive:
        content = archive.extractfile("parameters.json")
        assert content is not None
        assert json.load(content)["algorithm"] == best["TrainingJobDefinitionName"]


def test_the_sdk_drives_pipeline_and_jobs(data: Any) -> None:
    assert SDK.is_file(), f"{SDK} is missing; install the SageMaker SDK: python3 tools/setup.py sdk"
    driven = subprocess.run(
        [SDK, FOLDER / "drive_v3.py", data.role, data.bucket],
        cwd=FOLDER,
        env=data.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert driven.returncode == 0, driven.stderr[-4000:]
    said = json.loads(driven.stdout.splitlines()[-1])
    assert {
        name.removesuffix("-RegisterModel"): status for name, status in said["steps"].items()
    } == dict.fromkeys(STEPS, "Succeeded")
    assert said["status"] == "Succeeded"
    assert said["again"] == "Succeeded"
    assert said["cached"] >= 3
    assert said["job"] == "Completed"
    assert said["arguments"] == ["--alpha", "0.5"]
