"""The image pipeline as committed, trained small on real digits, by a role with what the stacks grant."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Cloud, Credentials
from modelyard_cli.demo.data import Data, upload
from pipeline_defs.catalog import PIPELINES, ImageClassification
from tests.local.catalogue_support import REPO, Deployed
from tests.local.support import unique

pytestmark = [pytest.mark.torch, pytest.mark.timeout(1800)]
SPEC = next(spec for spec in PIPELINES if isinstance(spec.family, ImageClassification))
LIMIT_S = 800.0
# A third of the digits, two epochs: enough to learn something, by both counts of hosts the same.
SMALL = {"Epochs": "2", "BatchSize": "16"}
IMAGES_A_CLASS = 50
BATCH_IMAGES = 6


def grants(name: str) -> list[dict[str, Any]]:
    """What `ExecutionRole` grants the pipeline `name`, whose bucket and group have that name too."""
    bucket, group = f"arn:aws:s3:::{name}", f"arn:aws:sagemaker:*:*:model-package*/{name}*"
    jobs = [
        f"sagemaker:{verb}{job}"
        for job in ("ProcessingJob", "TrainingJob", "TransformJob")
        for verb in ("Create", "Describe", "Stop")
    ]
    actions = {
        "arn:aws:sagemaker:*:*:*/pipelines-*": [
            "sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:DescribeModel", *jobs
        ],
        group: [
            "sagemaker:AddTags", "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage",
            "sagemaker:DescribeModelPackageGroup",
        ],
        bucket: ["s3:ListBucket"],
        f"{bucket}/*": ["s3:GetObject"],
        f"{bucket}/{SPEC.writes}*": ["s3:GetObject", "s3:PutObject"],
        "arn:aws:kms:*:*:key/*": ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:CreateGrant"],
        f"arn:aws:ecr:*:*:repository/{name}": [
            "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"
        ],
        "arn:aws:logs:*:*:log-group:/aws/sagemaker/*": [
            "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"
        ],
        "*": ["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"],
        "arn:aws:iam::*:role/*": ["iam:PassRole"],
    }  # fmt: skip
    return [{"Effect": "Allow", "Action": list(names), "Resource": arn} for arn, names in actions.items()]


class Account(Deployed):
    """The pipeline with some of the digits."""

    def __init__(self, cloud: Cloud, admin: Credentials, role_arn: str, name: str, data: Data) -> None:
        super().__init__(cloud, admin, role_arn, SPEC, name=name)
        self.given = upload(self.s3, self.bucket, data)

    def train(self, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Runs the pipeline with few epochs; the execution, and its steps by name."""
        return self.run(LIMIT_S, **{**self.given, **SMALL, **parameters})

    def report(self) -> dict[str, Any]:
        uri = self.newest_package()["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
        document: dict[str, Any] = json.loads(self.read(uri))
        return document


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Fewer of them, and among the raw data what is no image."""
    out = tmp_path_factory.mktemp("digits")
    subprocess.run(
        [sys.executable, str(REPO / "tools" / "image_data.py"), "--out", str(out)], check=True, timeout=300
    )
    folder = out / "digits"
    for group in sorted((folder / "images").iterdir()):
        for path in sorted(group.iterdir())[IMAGES_A_CLASS:]:
            path.unlink()
    (folder / "images" / "7" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing of the kind")
    truth: dict[str, str] = json.loads((folder / "batch_truth.json").read_text())
    kept = list(truth)[:BATCH_IMAGES]
    for path in (folder / "batch").iterdir():
        if path.name not in kept:
            path.unlink()
    return Data(
        table=folder / "images",
        batch=folder / "batch",
        examples=kept,
        truth=[truth[name] for name in kept],
        model=SPEC.name,
        raw=SPEC.family.raw,
        answer="class",
        images=True,
    )


@pytest.fixture(scope="module")
def account(
    cloud: Cloud, admin: Credentials, role: Callable[[str, list[dict[str, Any]]], str], digits: Data
) -> Account:
    name = unique("digits")
    return Account(cloud, admin, role("sagemaker.amazonaws.com", grants(name)), name, digits)


@pytest.fixture(scope="module")
def first(account: Account) -> dict[str, dict[str, Any]]:
    """The steps of a run on one host that goes through; its gate asks for better than chance."""
    return succeeded(account.train(Top1Threshold="0.3"))


def succeeded(run: tuple[dict[str, Any], dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    execution, steps = run
    assert execution["PipelineExecutionStatus"] == "Succeeded", {
        name: (step["StepStatus"], step.get("FailureReason")) for name, step in steps.items()
    }
    return steps


def test_images_are_checked_learnt_and_registered(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first["CheckTop1"]["Metadata"]["Condition"]["Outcome"] == "True"
    report = account.report()
    assert report["classification_metrics"]["top1"]["value"] > 2 * report["baseline"]["top1"]["value"]
    assert report["classes"] == [str(digit) for digit in range(10)]
    package = account.newest_package()
    metadata = package["CustomerMetadataProperties"]
    assert metadata["backbone"] == SPEC.family.backbone  # type: ignore[attr-defined]
    assert re.fullmatch("[0-9a-f]{64}", metadata["input_data_sha256"])
    assert b"<html" in account.read(metadata["report"])
    assert package["InferenceSpecification"]["SupportedContentTypes"][0] == "image/jpeg"
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    given = card["training_details"]["training_job_details"]["hyper_parameters"]
    assert {"name": "batch_size", "value": SMALL["BatchSize"]} in given


def test_a_bad_image_is_set_aside_with_its_reason(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first
    found = account.s3.list_objects_v2(Bucket=account.bucket, Prefix=SPEC.writes)["Contents"]
    (key,) = [item["Key"] for item in found if "/PreprocessData/quarantine/" in item["Key"]]
    assert "7/broken.png" in account.read(f"s3://{account.bucket}/{key}").decode()


def test_each_image_of_the_batch_is_answered_under_its_name(
    account: Account, first: dict[str, dict[str, Any]], digits: Data
) -> None:
    assert first["BatchTransform"]["StepStatus"] == "Succeeded"
    found = account.s3.list_objects_v2(Bucket=account.bucket, Prefix=SPEC.writes)["Contents"]
    keys = {Path(item["Key"]).name: item["Key"] for item in found if "/predictions/" in item["Key"]}
    assert keys.keys() == {f"{name}.out" for name in digits.examples}
    for key in keys.values():
        answer = json.loads(account.read(f"s3://{account.bucket}/{key}"))
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert len(answer["probabilities"]) == 5


def test_several_hosts_train_a_model_as_good(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first
    one = account.report()["classification_metrics"]["top1"]["value"]
    # The cache does not look at the number of hosts: another rate, by a hair, makes training new.
    for hosts, rate in (("2", "0.0028965"), ("4", "0.0028966")):
        steps = succeeded(account.train(Top1Threshold="0.3", TrainingInstanceCount=hosts, LearningRate=rate))
        assert "CacheHitResult" in steps["PreprocessData"]
        assert "CacheHitResult" not in steps["TrainModel"]
        job = account.sagemaker.describe_training_job(
            TrainingJobName=steps["TrainModel"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[-1]
        )
        assert job["ResourceConfig"]["InstanceCount"] == int(hosts)
        # The same batches in the same order; sums in another order tip a few of the some fifty test images.
        assert account.report()["classification_metrics"]["top1"]["value"] == pytest.approx(one, abs=0.15)


def test_a_gate_that_fails_says_both_numbers(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first
    execution, steps = account.train(Top1Threshold="1.5")
    assert execution["PipelineExecutionStatus"] == "Failed"
    reason = steps["Top1TooLow"]["FailureReason"]
    assert re.fullmatch(r"Top-1 accuracy 0\.\d+ is below Top1Threshold 1\.5", reason), reason
    for name in ("ValidateData", "PreprocessData", "TrainModel", "EvaluateModel"):
        assert "CacheHitResult" in steps[name], name
    assert "RegisterModel" not in steps


def test_a_gate_that_fails_may_train_wider_once(account: Account, first: dict[str, dict[str, Any]]) -> None:
    assert first
    execution, steps = account.train(
        Top1Threshold="1.5", OnGateFailure="Retrain", WiderBackbone="test_resnet", WiderEpochs="1"
    )
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps["EvaluateModelWider"]["StepStatus"] == "Succeeded"
    assert steps["Top1TooLowWider"]["FailureReason"].startswith("After the wider round: Top-1 accuracy 0.")


def test_the_wider_round_registers_what_the_first_could_not(
    account: Account, first: dict[str, dict[str, Any]], digits: Data
) -> None:
    assert first
    steps = succeeded(
        account.train(Epochs="1", Top1Threshold="0.5", OnGateFailure="Retrain", WiderEpochs="8")
    )
    assert "RegisterModel" not in steps
    for name in ("TrainModelWider", "RegisterModelWider", "CreateModelWider", "BatchTransformWider"):
        assert steps[name]["StepStatus"] == "Succeeded"
    package = account.newest_package()
    assert package["ModelPackageArn"] == steps["RegisterModelWider"]["Metadata"]["RegisterModel"]["Arn"]
    assert account.report()["classification_metrics"]["top1"]["value"] >= 0.5
    found = account.s3.list_objects_v2(Bucket=account.bucket, Prefix=SPEC.writes)["Contents"]
    answers = [
        Path(item["Key"]).name for item in found if "Wider" in item["Key"] and "/predictions" in item["Key"]
    ]
    assert sorted(answers) == sorted(f"{name}.out" for name in digits.examples)
