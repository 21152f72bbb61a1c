"""The classification pipelines as committed: six algorithms tuned by small trials, on real data."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from pipeline_defs.catalog import PIPELINES, PipelineSpec, TabularClassification
from stacks.environments import environments
from tests.local.catalogue_support import REPO, Deployed
from tests.local.pipeline_support import ALL

CANCER, MORTGAGES = (spec for spec in PIPELINES if isinstance(spec.family, TabularClassification))
LIMIT_S = 900.0
ALGORITHMS = {
    "xgboost", "lightgbm", "random-forest", "logistic-regression", "naive-bayes", "neural-net",
}  # fmt: skip


class Account(Deployed):
    """A pipeline with its data, and a role that may do anything."""

    def __init__(
        self, cloud: Cloud, admin: Credentials, role_arn: str, data: Path, spec: PipelineSpec = CANCER
    ) -> None:
        super().__init__(cloud, admin, role_arn, spec)
        assert isinstance(spec.family, TabularClassification)
        for file in ("rows.csv", "batch.jsonl"):
            self.s3.upload_file(str(data / spec.family.dataset / file), self.bucket, f"data/{file}")

    def tune(self, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Runs the pipeline with few trials; the execution, and its steps by name."""
        given = {
            "InputData": f"s3://{self.bucket}/data/rows.csv",
            "BatchData": f"s3://{self.bucket}/data/batch.jsonl",
            "MaxTuningJobs": "6",
            "MaxParallelTuningJobs": "2",
            "CrossValidationFolds": "3",
            "TuningStrategy": "Random",
            **parameters,
        }
        return self.run(LIMIT_S, **given)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tool = [sys.executable, str(REPO / "tools" / "classification_data.py")]
    subprocess.run([*tool, "--out", str(folder)], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def account(
    cloud: Cloud, admin: Credentials, role: Callable[[str, list[dict[str, Any]]], str], data: Path
) -> Account:
    return Account(cloud, admin, role("sagemaker.amazonaws.com", ALL), data)


@pytest.fixture(scope="module")
def first(account: Account) -> dict[str, dict[str, Any]]:
    """The steps of a run that goes through."""
    execution, steps = account.tune()
    assert execution["PipelineExecutionStatus"] == "Succeeded", {
        name: (step["StepStatus"], step.get("FailureReason")) for name, step in steps.items()
    }
    return steps


def test_every_algorithm_is_tried_and_the_best_is_refitted(
    account: Account, first: dict[str, dict[str, Any]]
) -> None:
    name = first["TuneModels"]["Metadata"]["TuningJob"]["Arn"].rsplit("/", 1)[-1]
    trials = account.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending"
    )["TrainingJobSummaries"]
    assert {trial["TrainingJobDefinitionName"] for trial in trials} == ALGORITHMS
    scores = {
        trial["TrainingJobDefinitionName"]: trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for trial in trials
    }
    # Chance is 0.5; the worst hyperparameters of a range are tried too, but not in all algorithms.
    assert max(scores.values()) > 0.97, scores

    package = account.newest_package()
    metadata = package["CustomerMetadataProperties"]
    assert metadata["algorithm"] == trials[0]["TrainingJobDefinitionName"]
    tuned = trials[0]["TunedHyperParameters"]
    assert set(tuned) <= {part.split("=")[0] for part in metadata["hyperparameters"].split()}
    archive = account.read(package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = {member.name.removeprefix("./") for member in tar.getmembers() if member.isfile()}
        manifest = json.loads(tar.extractfile(_member(tar, "manifest.json")).read())  # type: ignore[union-attr]
    assert names == {manifest["model"], "encoder.json", "manifest.json"}
    assert manifest["classes"] == ["benign", "malignant"]
    assert manifest["training"]["rows"] == 411  # 80 % of 514: all that trials were cross-validated on
    for key, value in tuned.items():
        assert float(manifest["training"]["hyperparameters"][key]) == pytest.approx(float(value))
    assert trained_with(package) == {
        "algorithm": metadata["algorithm"],
        **{name: str(value) for name, value in manifest["training"]["hyperparameters"].items()},
    }


def trained_with(package: dict[str, Any]) -> dict[str, str]:
    """The hyperparameters that a version's card names."""
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    listed = card["training_details"]["training_job_details"]["hyper_parameters"]
    return {item["name"]: item["value"] for item in listed}


def _member(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    return next(member for member in tar.getmembers() if member.name.removeprefix("./") == name)


def test_the_gate_compared_the_metric_and_the_report_is_there(
    account: Account, first: dict[str, dict[str, Any]]
) -> None:
    package = account.newest_package()
    uri = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    report = json.loads(account.read(uri))
    assert report["gate"]["metric"] == "auc"
    assert report["gate"]["value"] > 0.97
    assert report["rows"] == 103
    assert b"Confusion matrix" in account.read(package["CustomerMetadataProperties"]["report"])
    assert first["CheckMetric"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert package["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_batch_is_scored_with_its_ids(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first["BatchTransform"]["StepStatus"] == "Succeeded"
    found = account.s3.list_objects_v2(Bucket=account.bucket, Prefix=CANCER.writes)["Contents"]
    (key,) = [item["Key"] for item in found if item["Key"].endswith("/batch.jsonl.out")]
    scored = [json.loads(line) for line in account.read(f"s3://{account.bucket}/{key}").splitlines()]
    asked = [
        json.loads(line) for line in account.read(f"s3://{account.bucket}/data/batch.jsonl").splitlines()
    ]
    assert [row["sample_id"] for row in scored] == [row["sample_id"] for row in asked]
    assert {row["prediction"]["label"] for row in scored} == {"benign", "malignant"}


def test_a_gate_that_fails_says_both_numbers_and_reuses_all_trials(
    account: Account, first: dict[str, dict[str, Any]]
) -> None:
    assert first
    execution, steps = account.tune(MetricThreshold="1.5")
    assert execution["PipelineExecutionStatus"] == "Failed"
    reason = steps["MetricTooLow"]["FailureReason"]
    assert re.fullmatch(r"auc 0\.9\d+ is below MetricThreshold 1\.5", reason), reason
    for name in ("TuneModels", "RefitModel", "EvaluateModel"):
        assert "CacheHitResult" in steps[name], name
    assert "TuneModelsWider" not in steps


def test_a_gate_that_fails_may_tune_once_more_and_wider(
    account: Account, first: dict[str, dict[str, Any]]
) -> None:
    assert first
    execution, steps = account.tune(MetricThreshold="1.5", OnGateFailure="Retrain")
    assert execution["PipelineExecutionStatus"] == "Failed"
    for name in ("TuneModelsWider", "RefitModelWider", "EvaluateModelWider"):
        assert steps[name]["StepStatus"] == "Succeeded", steps[name]
    reason = steps["MetricTooLowWider"]["FailureReason"]
    assert re.fullmatch(r"After the wider round: auc 0\.9\d+ is below MetricThreshold 1\.5", reason), reason


def test_a_pipeline_takes_no_other_pipelines_data_set(account: Account) -> None:
    """Its model would be registered in a group, and with a card, that speak of something else."""
    with pytest.raises(ClientError, match="Dataset"):
        account.tune(Dataset="mortgages", Target="decision")


@pytest.fixture(scope="module")
def mortgages(
    cloud: Cloud, admin: Credentials, role: Callable[[str, list[dict[str, Any]]], str], data: Path
) -> Account:
    return Account(cloud, admin, role("sagemaker.amazonaws.com", ALL), data, MORTGAGES)


def test_mortgages_with_another_metric_and_scorer(mortgages: Account) -> None:
    """Mortgages have categories, gaps, and seven times as many approvals as rejections."""
    execution, steps = mortgages.tune(
        Scorer="negative_log_loss",
        TestSize="0.3",
        MetricForRegistration="accuracy",
        MetricThreshold="0.75",
    )
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    package = mortgages.newest_package()
    report = json.loads(mortgages.read(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]))
    assert (report["gate"]["metric"], report["rows"], report["positive"]) == ("accuracy", 580, "rejected")
    assert report["gate"]["baseline"] == pytest.approx(0.8776, abs=0.0001)
    assert report["binary_classification_metrics"]["auc"]["value"] > 0.65
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    assert "mortgage" in card["intended_uses"]["purpose_of_model"]
    (metrics,) = card["evaluation_details"][0]["metric_groups"]
    assert {item["name"]: item["value"] for item in metrics["metric_data"]}["rows"] == 580
    assert trained_with(package)["algorithm"] == package["CustomerMetadataProperties"]["algorithm"]
    assert len(trained_with(package)) > 1


def test_mortgages_pass_their_gate_with_what_the_stage_local_tunes(mortgages: Account) -> None:
    chosen = environments()["local"].pipelines.parameters[MORTGAGES.name]
    execution, steps = mortgages.tune(TuningStrategy="Bayesian", CrossValidationFolds="5", **chosen)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    package = mortgages.newest_package()
    report = json.loads(mortgages.read(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]))
    assert (report["gate"]["metric"], report["rows"], report["gate"]["baseline"]) == ("auc", 386, 0.5)
    assert report["gate"]["value"] >= float(package["CustomerMetadataProperties"]["metric_threshold"]) == 0.62
