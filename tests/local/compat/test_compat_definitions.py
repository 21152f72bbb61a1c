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
SDK_V2 = FOLDER.parents[2] / ".venv-sdk-v2" / "bin" / "python"
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


def put_scripts(data: Any, text: str) -> None:
    """Where the SDK put them when it emitted the definition."""
    for match in _CODE.finditer(text):
        data.put(match["key"], (FOLDER / "scripts" / match["name"]).read_text())


def run(data: Any, name: str, text: str, seconds: float = 600) -> tuple[str, dict[str, Any]]:
    """Create and start a pipeline; its ARN and description at the end."""
    put_scripts(data, text)
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


def aws(data: Any, operation: str, *options: str) -> Any:
    """`aws sagemaker OPERATION`, a process; what it printed."""
    command = [sys.executable, "-m", "awscli", "sagemaker", operation, *options, "--output", "json"]
    done = subprocess.run(command, env=data.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_with_command_line(
    data: Any, name: str, version: int, seconds: float = 600
) -> tuple[str, dict[str, Any]]:
    """As `run`, with the AWS CLI alone, from the definition's file."""
    put_scripts(data, definition(version))
    file = FOLDER / "definitions" / f"shellfish-v{version}.json"
    made = ("--pipeline-name", name)
    created = aws(
        data,
        "create-pipeline",
        *made,
        "--pipeline-definition",
        f"file://{file}",
        "--role-arn",
        data.role,
        "--tags",
        "Key=team,Value=shellfish",
    )
    described = aws(data, "describe-pipeline", *made)
    assert described["PipelineArn"] == created["PipelineArn"]
    assert json.loads(described["PipelineDefinition"]) == json.loads(file.read_text())
    given = ("--pipeline-parameters", "Name=MseThreshold,Value=5.5", "Name=ProcessingInstanceCount,Value=1")
    arn = aws(data, "start-pipeline-execution", *made, *given)["PipelineExecutionArn"]
    execution = ("--pipeline-execution-arn", arn)
    deadline = time.monotonic() + seconds
    while (answer := aws(data, "describe-pipeline-execution", *execution))[
        "PipelineExecutionStatus"
    ] == "Executing":
        assert time.monotonic() < deadline
    listed = aws(data, "list-pipeline-parameters-for-execution", *execution)["PipelineParameters"]
    assert {"Name": "MseThreshold", "Value": "5.5"} in listed
    return str(arn), answer


@pytest.mark.parametrize("version", [2, 3])
def test_a_pipeline_emitted_by_the_sdk_runs(data: Any, version: int) -> None:
    sagemaker = data.client("sagemaker")
    arn, answer = (
        run_with_command_line(data, "ShellfishV2", 2)
        if version == 2
        else run(data, "ShellfishV3", definition(3))
    )
    listed = aws(data, "list-pipeline-execution-steps", "--pipeline-execution-arn", arn)
    steps = {
        step["StepName"].removesuffix("-RegisterModel").removesuffix("-CreateModel"): step
        for step in listed["PipelineExecutionSteps"]
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
    arn, answer = run(data, "ShellfishTuning", text)
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


def driven(data: Any, python: Path, program: str, profile: str) -> dict[str, Any]:
    """What a program said that does with the SDK's own client what people do."""
    assert python.is_file(), f"the SageMaker SDK is missing: python3 tools/setup.py {profile}"
    done = subprocess.run(
        [python, FOLDER / program, data.role, data.bucket],
        cwd=FOLDER,
        env=data.environment(),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_version_2_of_the_sdk_drives_a_pipeline(data: Any) -> None:
    said = driven(data, SDK_V2, "drive_v2.py", "sdk-v2")
    assert {
        name.removesuffix("-RegisterModel").removesuffix("-CreateModel"): status
        for name, status in said["steps"].items()
    } == dict.fromkeys(STEPS, "Succeeded")
    assert said["status"] == "Succeeded"
    assert said["again"] == "Succeeded"
    assert said["cached"] >= 3
    assert said["same"] is True
    assert said["description"] == "twice"
    assert said["parameters"] == {"MseThreshold": "8.0"}
    assert said["executions"] == 2
    left = data.client("sagemaker").list_pipelines()["PipelineSummaries"]
    assert "ShellfishV2Driven" not in {pipeline["PipelineName"] for pipeline in left}


def test_the_sdk_drives_pipeline_and_jobs(data: Any) -> None:
    said = driven(data, SDK, "drive_v3.py", "sdk")
    assert {
        name.removesuffix("-RegisterModel"): status for name, status in said["steps"].items()
    } == dict.fromkeys(STEPS, "Succeeded")
    assert said["status"] == "Succeeded"
    assert said["again"] == "Succeeded"
    assert said["cached"] >= 3
    assert said["job"] == "Completed"
    assert said["arguments"] == ["--alpha", "0.5"]
    # Once it is emitted, `pipeline_defs/tuning.py` can leave it to the SDK.
    assert said["several"] == "'NoneType' object has no attribute 'training_image'"
