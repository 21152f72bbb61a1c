"""Pipelines that run: every step type, both branches, failures, stops, parallel steps, caching."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.pipeline_support import Bench, definition, gate
from tests.local.support import fault

FAIL = {
    "Name": "TooBad",
    "Type": "Fail",
    "Arguments": {
        "ErrorMessage": {"Std:Join": {"On": " ", "Values": ["limit", {"Get": "Parameters.Limit"}]}}
    },
}
LIMIT = {"Name": "Limit", "Type": "Float", "DefaultValue": 6.0}


def complete(bench: Bench, group: str) -> list[dict[str, Any]]:
    """Preprocess, train, evaluate, then register, create and transform, or fail."""
    out = "ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"
    container = {"Image": bench.image, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}
    train = {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": bench.image, "TrainingInputMode": "File"},
            "RoleArn": bench.role_arn,
            "HyperParameters": {"limit": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Limit"}]}}},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": {"Get": f"Steps.Prepare.{out}"}}
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": bench.uri("models")},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    }
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    create = {
        "Name": "Create_Model",
        "Type": "Model",
        "Arguments": {"ExecutionRoleArn": bench.role_arn, "PrimaryContainer": container},
    }
    transform = {
        "Name": "Transform",
        "Type": "Transform",
        "Arguments": {
            "ModelName": {"Get": "Steps.Create_Model.ModelName"},
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": bench.uri("batch", "rows.csv")}
                },
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": bench.uri("scores"), "AssembleWith": "Line"},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        },
    }
    return [
        bench.processing("Prepare", "write", "rows.csv", "1,2"),
        train,
        bench.report("Evaluate", "write", "report.json", '{"score": 5.5}', DependsOn=["Train"]),
        gate("Evaluate", {"Get": "Parameters.Limit"}, [register, create, transform], [FAIL]),
    ]


def test_a_complete_pipeline(bench: Bench) -> None:
    bench.s3.put_object(Bucket=bench.bucket, Key="batch/rows.csv", Body=b"1,2\n3,4\n")
    group = f"group-{bench.bucket}"
    execution, steps = bench.run(*complete(bench, group), parameters=[LIMIT])
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    arn = execution["PipelineExecutionArn"]
    identity = arn.rsplit("/", 1)[-1]
    assert re.fullmatch(r"[a-z0-9]{12}", identity)
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert list(steps)[:4] == ["Prepare", "Train", "Evaluate", "Gate"]
    assert set(list(steps)[4:]) == {"Register", "Create_Model", "Transform"}
    assert {name: list(step["Metadata"]) for name, step in steps.items()} == {
        "Prepare": ["ProcessingJob"],
        "Train": ["TrainingJob"],
        "Evaluate": ["ProcessingJob"],
        "Gate": ["Condition"],
        "Register": ["RegisterModel"],
        "Create_Model": ["Model"],
        "Transform": ["TransformJob"],
    }
    assert steps["Gate"]["Metadata"]["Condition"] == {"Outcome": "True"}
    # What the jobs are called, whose they are, and what they were given.
    job_arn = steps["Train"]["Metadata"]["TrainingJob"]["Arn"]
    tags = bench.client.list_tags(ResourceArn=job_arn)["Tags"]
    assert {"Key": "sagemaker:pipeline-execution-arn", "Value": arn} in tags
    jobs = bench.client.list_training_jobs(NameContains=identity)["TrainingJobSummaries"]
    assert re.fullmatch(rf"pipelines-{identity}-Train-[A-Za-z0-9]{{10}}", jobs[0]["TrainingJobName"])
    job = bench.client.describe_training_job(TrainingJobName=jobs[0]["TrainingJobName"])
    assert job["HyperParameters"] == {"limit": "6.0"}
    model = bench.client.list_models(NameContains=identity)["Models"][0]["ModelName"]
    assert model.startswith(f"pipelines-{identity}-Create-Model-")
    package = bench.client.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["ModelPackageGroupName"] == group
    assert package["MetadataProperties"]["GeneratedBy"] == arn
    assert (
        package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        == (job["ModelArtifacts"]["S3ModelArtifacts"])
    )
    assert bench.read(bench.uri("scores", "rows.csv.out")).split() == ["<1,2>", "<3,4>"]


def test_a_gate_that_fails_takes_the_other_branch(bench: Bench) -> None:
    execution, steps = bench.run(
        bench.report("Evaluate", "write", "report.json", '{"score": 7}'),
        gate("Evaluate", {"Get": "Parameters.Limit"}, [bench.processing("Never", "sleep", "0")], [FAIL]),
        parameters=[LIMIT],
        values={"Limit": "6.5"},
    )
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed."
    assert list(steps) == ["Evaluate", "Gate", "TooBad"]
    assert steps["Gate"]["Metadata"]["Condition"] == {"Outcome": "False"}
    assert steps["TooBad"]["StepStatus"] == "Failed"
    assert steps["TooBad"]["FailureReason"] == "limit 6.5"
    assert steps["TooBad"]["Metadata"] == {"Fail": {"ErrorMessage": "limit 6.5"}}


def test_a_failing_step_stops_what_depends_on_it_only(bench: Bench) -> None:
    execution, steps = bench.run(
        bench.processing("Broken", "fail", "no such column: income"),
        bench.processing("Lost", "sleep", "0", DependsOn=["Broken"]),
        bench.processing("Free", "sleep", "0"),
        bench.processing("FreeToo", "sleep", "0", DependsOn=["Free"]),
    )
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert set(steps) == {"Broken", "Free", "FreeToo"}
    assert steps["Broken"]["StepStatus"] == "Failed"
    assert steps["Broken"]["FailureReason"].startswith("ClientError: AlgorithmError: no such column: income")
    assert steps["Broken"]["FailureReason"].endswith("exit code: 3")
    assert "ProcessingJob" in steps["Broken"]["Metadata"]
    assert steps["FreeToo"]["StepStatus"] == "Succeeded"


def test_a_failed_execution_is_retried_from_where_it_failed(bench: Bench) -> None:
    source = {"InputName": "in", "S3Input": {"S3Uri": bench.uri("late"), "LocalPath": "/opt/ml/processing/in",
              "S3DataType": "S3Prefix", "S3InputMode": "File"}}  # fmt: skip
    needs_input = {"Arguments": {"ProcessingInputs": [source]}}
    arn = bench.start(
        bench.create(
            bench.processing("First", "sleep", "0"),
            bench.processing("Second", "sleep", "0", DependsOn=["First"], **needs_input),
        )
    )
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Failed"
    before = bench.steps(arn)
    assert "No S3 objects found" in before["Second"]["FailureReason"]
    bench.s3.put_object(Bucket=bench.bucket, Key="late/rows.csv", Body=b"1")
    assert bench.client.retry_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionArn"] == arn
    execution = bench.wait(arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in execution
    assert bench.steps(arn)["First"] == before["First"]
    with pytest.raises(ClientError, match="ConflictException"):
        bench.client.retry_pipeline_execution(PipelineExecutionArn=arn)


def test_a_stop_reaches_the_running_job(bench: Bench) -> None:
    arn = bench.start(
        bench.create(
            bench.processing("Sleep", "sleep", "600"),
            bench.processing("Next", "sleep", "0", DependsOn=["Sleep"]),
        )
    )
    deadline = time.monotonic() + 180
    while bench.steps(arn).get("Sleep", {}).get("StepStatus") != "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for _ in range(2):
        assert bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionArn"] == arn
    execution = bench.wait(arn)
    assert execution["PipelineExecutionStatus"] == "Stopped"
    steps = bench.steps(arn)
    assert {name: step["StepStatus"] for name, step in steps.items()} == {"Sleep": "Stopped"}
    job = bench.client.list_processing_jobs(NameContains=arn.rsplit("/", 1)[-1])["ProcessingJobSummaries"][0]
    assert job["ProcessingJobStatus"] == "Stopped"
    bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)


def overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return bool(first["StartTime"] < second["EndTime"] and second["StartTime"] < first["EndTime"])


def test_independent_steps_run_in_parallel_up_to_the_limit(bench: Bench) -> None:
    name = bench.create(bench.processing("A", "sleep", "1"), bench.processing("B", "sleep", "1"))
    arn = bench.start(name)
    bench.wait(arn)
    steps = bench.steps(arn)
    assert overlap(steps["A"], steps["B"])
    arn = bench.start(name, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    execution = bench.wait(arn)
    assert execution["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 1}
    steps = bench.steps(arn)
    assert not overlap(steps["A"], steps["B"])


def test_results_are_reused_until_an_argument_that_counts_changes(bench: Bench) -> None:
    cache = {"Enabled": True, "ExpireAfter": "P1D"}
    score = {"Name": "Score", "Type": "String", "DefaultValue": "5"}
    evaluate = bench.report(
        "Evaluate",
        "environment",
        CacheConfig=cache,
        Arguments={"Environment": {"SCORE": {"Get": "Parameters.Score"}}},
    )
    after = bench.processing("After", "sleep", "0")
    after["Arguments"]["Environment"] = {
        "FROM": {"Get": "Steps.Evaluate.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    }
    after["CacheConfig"] = cache
    name = bench.create(evaluate, after, gate("Evaluate", 6, [], [FAIL]), parameters=[score, LIMIT])

    first = bench.start(name)
    assert bench.wait(first)["PipelineExecutionStatus"] == "Succeeded"
    again = bench.start(name)
    assert bench.wait(again)["PipelineExecutionStatus"] == "Succeeded"
    made, reused = bench.steps(first), bench.steps(again)
    for step in ("Evaluate", "After"):
        assert "CacheHitResult" not in made[step]
        assert reused[step]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
        assert reused[step]["Metadata"] == made[step]["Metadata"]
    assert reused["Gate"]["Metadata"]["Condition"]["Outcome"] == "True"

    other = bench.start(name, values={"Score": "7"})
    assert bench.wait(other)["PipelineExecutionStatus"] == "Failed"
    assert "CacheHitResult" not in bench.steps(other)["Evaluate"]


@pytest.mark.parametrize(
    ("command", "path", "words"),
    [
        (("sleep", "0"), "score", ["'Gate'", "'Report'", "'Evaluate'", "report.json", "NoSuchKey"]),
        (("write", "report.json", "{}"), "score", ["'Gate'", "'Report'", "'Evaluate'", "'score'"]),
        (("write", "report.json", "not json"), "score", ["'Report'", "not JSON"]),
        (("write", "report.json", '{"score": "NaN"}'), "score", ["'Gate'", "'NaN'"]),
    ],
)
def test_a_report_without_the_metric_fails_the_gate(
    bench: Bench, command: tuple[str, ...], path: str, words: list[str]
) -> None:
    execution, steps = bench.run(bench.report("Evaluate", *command), gate("Evaluate", 6.0, [], [], path))
    assert execution["PipelineExecutionStatus"] == "Failed"
    reason = steps["Gate"]["FailureReason"]
    assert all(word in reason for word in words), reason


def test_an_execution_is_pinned_to_its_definition(bench: Bench) -> None:
    old, new = bench.processing("Old", "sleep", "1"), bench.processing("New", "sleep", "0")
    name = bench.create(old)
    arn = bench.start(name)
    answer = bench.client.update_pipeline(PipelineName=name, PipelineDefinition=definition(new))
    assert answer["PipelineVersionId"] == 2
    pinned = bench.client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert pinned["PipelineDefinition"] == definition(old)
    assert bench.client.describe_pipeline(PipelineName=name)["PipelineDefinition"] == definition(new)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert list(bench.steps(arn)) == ["Old"]


def test_a_retry_policy_outlasts_a_lack_of_capacity(bench: Bench) -> None:
    lack = {"operation": "CreateProcessingJob", "status": 400, "code": "CapacityError"}
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 20}
    patient = bench.processing("Patient", "write", "x", "1", RetryPolicies=[{**policy, "BackoffRate": 1.0}])
    name = bench.create(patient)
    with fault(bench.cloud, service="sagemaker", **lack):
        arn = bench.start(name)
        deadline = time.monotonic() + 120
        while bench.steps(arn).get("Patient", {}).get("AttemptCount", 0) < 2:
            assert time.monotonic() < deadline, bench.steps(arn)
            time.sleep(0.1)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert bench.steps(arn)["Patient"]["AttemptCount"] >= 2
