"""Tuning steps: arguments in, the best training jobs out; cached, stopped and failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.pipeline_support import Bench, definition

TUNE = "Tune_everything"


def tuning(bench: Bench, *, static: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    """A tuning step over three depths, the smallest of which is the best."""
    arguments = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "depth"},
            "ResourceLimits": {"MaxParallelTrainingJobs": {"Get": "Parameters.Parallel"}},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "depth", "Values": ["30", "10", "20"]}]
            },
        },
        "TrainingJobDefinition": {
            "RoleArn": bench.role_arn,
            "AlgorithmSpecification": {
                "TrainingImage": bench.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "depth", "Regex": "depth=([0-9]+);"}],
            },
            "OutputDataConfig": {"S3OutputPath": bench.uri("tuned")},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "StaticHyperParameters": static or {},
        },
    }
    return {"Name": TUNE, "Type": "Tuning", "Arguments": arguments, **members}


PARAMETERS = [{"Name": "Parallel", "Type": "Integer", "DefaultValue": 3}]


def artifact(bench: Bench, rank: int) -> dict[str, Any]:
    """What `TuningStep.get_top_model_s3_uri` of the SDK emits."""
    job = {"Get": f"Steps.{TUNE}.TrainingJobSummaries[{rank}].TrainingJobName"}
    return {"Std:Join": {"On": "/", "Values": [bench.uri("tuned"), job, "output/model.tar.gz"]}}


def refit(bench: Bench) -> dict[str, Any]:
    """A processing step that gets the best of everything as its arguments."""
    best = f"Steps.{TUNE}.BestTrainingJob"
    place = artifact(bench, 1)
    words = [
        {"Get": f"{best}.TrainingJobName"},
        {"Get": f"{best}.TunedHyperParameters['depth']"},
        {"Get": f"{best}.FinalHyperParameterTuningJobObjectiveMetric.MetricName"},
        place,
        {"Get": f"Steps.{TUNE}.HyperParameterTuningJobName"},
    ]
    return bench.processing("Refit", "write", "said.txt", {"Std:Join": {"On": " ", "Values": words}})


def test_the_best_job_reaches_later_steps(bench: Bench) -> None:
    execution, steps = bench.run(tuning(bench), refit(bench), parameters=PARAMETERS)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    arn = steps[TUNE]["Metadata"]["TuningJob"]["Arn"]
    name = arn.rsplit("/", 1)[-1]
    identifier = execution["PipelineExecutionArn"].rsplit("/", 1)[-1]
    assert name.startswith(f"{identifier}-tune-ev-")
    assert len(name) <= 32

    output = bench.uri(identifier, "Refit", "said.txt")
    best, depth, metric, second, tuned = bench.read(output).split(" ")
    assert (depth, metric) == ("10", "depth")
    described = bench.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned)
    assert described["HyperParameterTuningJobArn"] == arn
    assert described["BestTrainingJob"]["TrainingJobName"] == best
    assert best.startswith(tuned)
    listed = bench.client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuned, SortBy="FinalObjectiveMetricValue"
    )["TrainingJobSummaries"]
    assert [item["TunedHyperParameters"]["depth"] for item in listed] == ["10", "20", "30"]
    # The archive that the join names is the second-best job's model.
    assert second.split("/")[-3] == listed[1]["TrainingJobName"]
    assert bench.s3.head_object(Bucket=bench.bucket, Key=second.split("/", 3)[3])["ContentLength"] > 0
    assert {tag["Key"] for tag in bench.client.list_tags(ResourceArn=arn)["Tags"]} == {
        "sagemaker:pipeline-execution-arn"
    }


def test_the_best_algorithm_of_several_is_trained_again(bench: Bench) -> None:
    step = tuning(bench)
    configuration = step["Arguments"]["HyperParameterTuningJobConfig"]
    ranges, objective = (
        configuration.pop(member) for member in ("ParameterRanges", "HyperParameterTuningJobObjective")
    )
    body = step["Arguments"].pop("TrainingJobDefinition")
    # As version 2 of the SDK emits it.
    body["HyperParameterTuningResourceConfig"] = body.pop("ResourceConfig")
    deeper = {"CategoricalParameterRanges": [{"Name": "depth", "Values": ["40", "50"]}]}
    step["Arguments"]["TrainingJobDefinitions"] = [
        {"DefinitionName": "deep", "TuningObjective": objective, "HyperParameterRanges": deeper, **body},
        {"DefinitionName": "flat", "TuningObjective": objective, "HyperParameterRanges": ranges, **body},
    ]
    best = f"Steps.{TUNE}.BestTrainingJob"
    again = {
        "Name": "Refit",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": bench.image, "TrainingInputMode": "File"},
            "RoleArn": bench.role_arn,
            "HyperParameters": {
                "algorithm": {"Get": f"{best}.TrainingJobDefinitionName"},
                "depth": {"Get": f"{best}.TunedHyperParameters['depth']"},
            },
            "OutputDataConfig": {"S3OutputPath": bench.uri("refit")},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    }
    equal = {
        "Type": "Equals",
        "LeftValue": {"Get": f"{best}.TrainingJobDefinitionName"},
        "RightValue": "flat",
    }
    choose = {
        "Name": "Choose",
        "Type": "Condition",
        "Arguments": {"Conditions": [equal], "IfSteps": [again], "ElseSteps": []},
    }
    execution, steps = bench.run(step, choose, parameters=PARAMETERS)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert steps["Choose"]["Metadata"]["Condition"]["Outcome"] == "True"
    arn = steps["Refit"]["Metadata"]["TrainingJob"]["Arn"]
    found = bench.client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    (name,) = (item["TrainingJobName"] for item in found if item["TrainingJobArn"] == arn)
    job = bench.client.describe_training_job(TrainingJobName=name)
    assert job["HyperParameters"] == {"algorithm": "flat", "depth": "10"}


def test_a_tuning_step_is_cached_by_what_counts(bench: Bench) -> None:
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    name = bench.create(tuning(bench, **cached), refit(bench), parameters=PARAMETERS)
    first = bench.start(name)
    assert bench.wait(first)["PipelineExecutionStatus"] == "Succeeded"
    second = bench.start(name)
    assert bench.wait(second)["PipelineExecutionStatus"] == "Succeeded"
    hit = bench.steps(second)[TUNE]
    assert hit["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    assert hit["Metadata"] == bench.steps(first)[TUNE]["Metadata"]

    # A role or an output is not counted, a hyperparameter is.
    def rerun(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        step = tuning(bench, **cached)
        change(step["Arguments"]["TrainingJobDefinition"])
        text = definition(step, refit(bench), parameters=PARAMETERS)
        bench.client.update_pipeline(PipelineName=name, PipelineDefinition=text)
        arn = bench.start(name)
        assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
        found: dict[str, Any] = bench.steps(arn)[TUNE]
        return found

    assert "CacheHitResult" in rerun(lambda body: body["StoppingCondition"].update(MaxRuntimeInSeconds=61))
    assert "CacheHitResult" not in rerun(lambda body: body["StaticHyperParameters"].update(more="1"))


def test_a_tuning_job_that_fails_fails_its_step(bench: Bench) -> None:
    execution, steps = bench.run(tuning(bench, static={"exit": "3"}), refit(bench), parameters=PARAMETERS)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps[TUNE]["StepStatus"] == "Failed"
    assert steps[TUNE]["FailureReason"] == (
        "ClientError: All training jobs failed. Please take a look at the training job failures to get more "
        "details."
    )
    assert "Refit" not in steps


def test_a_stopped_execution_stops_its_tuning_job(bench: Bench) -> None:
    arn = bench.start(bench.create(tuning(bench, static={"sleep": "600"}), parameters=PARAMETERS))
    deadline = time.monotonic() + 180
    while "TuningJob" not in bench.steps(arn).get(TUNE, {}).get("Metadata", {}):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Stopped"
    step = bench.steps(arn)[TUNE]
    assert step["StepStatus"] == "Stopped"
    tuned = step["Metadata"]["TuningJob"]["Arn"].rsplit("/", 1)[-1]
    described = bench.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned)
    assert described["HyperParameterTuningJobStatus"] == "Stopped"
    assert described["TrainingJobStatusCounters"]["InProgress"] == 0


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("BestTrainingJob.Bogus", "Bogus"),
        ("TrainingJobSummaries[0].Bogus", "Bogus"),
        ("TrainingJobSummary[0].TrainingJobName", "has no 'TrainingJobSummary'"),
    ],
)
def test_a_property_that_no_tuning_job_has_is_refused(bench: Bench, path: str, word: str) -> None:
    step = bench.processing("Refit", "write", "said.txt", {"Get": f"Steps.{TUNE}.{path}"})
    with pytest.raises(ClientError, match=word):
        bench.create(tuning(bench), step, parameters=PARAMETERS)


def test_arguments_are_checked_when_the_pipeline_is_created(bench: Bench) -> None:
    step = tuning(bench)
    step["Arguments"]["HyperParameterTuningJobConfig"]["Strategy"] = "Guess"
    with pytest.raises(ClientError, match="Bayesian"):
        bench.create(json.loads(json.dumps(step)), parameters=PARAMETERS)
