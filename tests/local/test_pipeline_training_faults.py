"""Training that crashes, hangs or writes no model: the execution fails, says why, and registers nothing."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from modelyard_cli.executions import watch
from modelyard_cli.pipelines import show
from tests.local.pipeline_support import Bench, gate


def training(bench: Bench, *command: str, seconds: int = 60) -> dict[str, Any]:
    """A training step that runs the command in place of training."""
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {
                "TrainingImage": bench.image,
                "TrainingInputMode": "File",
                "ContainerArguments": list(command),
            },
            "RoleArn": bench.role_arn,
            "OutputDataConfig": {"S3OutputPath": bench.uri("models")},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        },
    }


def container(bench: Bench) -> dict[str, Any]:
    return {"Image": bench.image, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}


def registration(bench: Bench, group: str) -> dict[str, Any]:
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "InferenceSpecification": {
                "Containers": [container(bench)],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }


def model(bench: Bench) -> dict[str, Any]:
    return {
        "Name": "CreateModel",
        "Type": "Model",
        "Arguments": {"ExecutionRoleArn": bench.role_arn, "PrimaryContainer": container(bench)},
    }


def evaluation(bench: Bench) -> dict[str, Any]:
    """A step that reads the model, as those of this app's pipelines do before anything is registered."""
    archive = {
        "InputName": "model",
        "S3Input": {
            "S3Uri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
            "LocalPath": "/opt/ml/processing/model",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
    report = ("write", "report.json", '{"score": 1}')
    return bench.report("Evaluate", *report, Arguments={"ProcessingInputs": [archive]})


def shown(bench: Bench, *steps: dict[str, Any]) -> list[str]:
    """What `modelyard run` prints of steps that have ended, less the seconds; the execution must fail."""
    arn = bench.start(bench.create(*steps))
    screen = io.StringIO()
    final = show(watch(bench.client, arn, 0.1), "pipeline", Console(file=screen, width=1000))
    assert final.status == "Failed"
    lines = [line.partition(" s  ")[2] for line in screen.getvalue().splitlines()]
    return [line for line in lines if line.split()[1] in ("Succeeded", "Failed")]


def groups(bench: Bench, group: str) -> list[Any]:
    """The step that registers makes the group, if it runs."""
    found = bench.client.list_model_package_groups(NameContains=group)
    return list(found["ModelPackageGroupSummaryList"])


def test_training_whose_script_crashes(bench: Bench) -> None:
    group = f"crashes-{bench.bucket}"
    why = "ValueError: 12 rows, 20 are needed"

    assert shown(bench, training(bench, "crash", why), registration(bench, group)) == [
        f"Train: Failed ClientError: AlgorithmError: {why}, exit code: 3"
    ]
    assert groups(bench, group) == []


def test_training_that_crashes_without_a_failure_file(bench: Bench) -> None:
    group = f"silent-{bench.bucket}"
    why = "ValueError: could not convert string to float: 'soon'"

    assert shown(bench, training(bench, "sleep", "soon"), registration(bench, group)) == [
        f"Train: Failed ClientError: AlgorithmError: {why}, exit code: 1"
    ]
    assert groups(bench, group) == []


def test_training_that_hangs_past_its_limit(bench: Bench) -> None:
    group = f"hangs-{bench.bucket}"

    assert shown(bench, training(bench, "sleep", "600", seconds=2), registration(bench, group)) == [
        "Train: Failed ClientError: Training job runtime exceeded MaxRuntimeInSeconds provided (2 s)"
    ]
    assert groups(bench, group) == []


def test_training_that_writes_no_model(bench: Bench) -> None:
    group = f"empty-{bench.bucket}"
    gated = gate("Evaluate", 2, [registration(bench, group)], [])

    trained, evaluated = shown(bench, training(bench, "sleep", "0"), evaluation(bench), gated)

    # As on AWS: a job need not make a model.
    assert trained == "Train: Succeeded"
    assert evaluated.startswith("Evaluate: Failed ")
    assert f'No S3 objects found under S3 URL "{bench.uri("models")}' in evaluated
    assert "output/model.tar.gz" in evaluated
    assert groups(bench, group) == []


def test_a_model_of_a_training_that_wrote_none(bench: Bench) -> None:
    _, created = shown(bench, training(bench, "sleep", "0"), model(bench))

    assert created.startswith("CreateModel: Failed ClientError: ")
    assert f"Could not find model data at {bench.uri('models')}" in created
