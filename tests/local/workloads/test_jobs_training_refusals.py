"""What training jobs may not do, and what is refused at once."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.workloads.training_jobs import SAVE, ended, members, start


def test_a_role_that_does_not_trust_sagemaker_is_refused_at_create(workplace: Any, role: Any) -> None:
    with pytest.raises(ClientError, match=r"sagemaker\.amazonaws\.com") as caught:
        start(workplace, SAVE, RoleArn=role("lambda.amazonaws.com", []))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_pass_role_is_needed(workplace: Any, actor: Any) -> None:
    key = actor([{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}])
    client = workplace.cloud.client("sagemaker", key)
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.create_training_job(
            TrainingJobName="not-allowed",
            RoleArn=workplace.role,
            AlgorithmSpecification={"TrainingImage": workplace.image, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": workplace.uri("x")},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:1",
                    "TrainingInputMode": "Pipe",
                }
            },
            "Pipe",
        ),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "greater than or equal",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {
                            "S3DataSource": {
                                "S3DataType": "AugmentedManifestFile",
                                "S3Uri": "s3://x/y.jsonl",
                                "AttributeNames": ["source-ref"],
                            }
                        },
                    }
                ]
            },
            "AugmentedManifestFile",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}}, "spot"),
        ({"OutputDataConfig": {"S3OutputPath": "https://x/y"}}, "S3OutputPath"),
    ],
)
def test_what_cannot_run_is_refused_at_create(workplace: Any, changes: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        start(workplace, SAVE, **changes)


@pytest.mark.parametrize(
    "code",
    [
        "os.rmdir('/opt/ml/model'); os.symlink('/etc', '/opt/ml/model')",
        "t = os.environ['TMPDIR']; os.rename('/opt/ml/output', '/opt/ml/x'); os.symlink(t, '/opt/ml/output');"
        "os.mkdir(f'{t}/data')",
        "os.symlink('/etc/hostname', '/opt/ml/model/leak')",
    ],
)
def test_links_in_the_place_of_results_are_refused(workplace: Any, settle: Any, code: str) -> None:
    name = start(workplace, f"import os; {code}")
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Failed"
    assert "link" in answer["FailureReason"]
    assert workplace.keys(f"{name}/") == []


def test_a_link_in_the_place_of_the_archive_is_not_written_through(workplace: Any, settle: Any) -> None:
    name = start(workplace, f"import os; {SAVE}; os.symlink('/nowhere', '/opt/ml/model.tar.gz')")
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"m.txt": b"weights"}


def test_a_job_sees_no_key_but_its_own(workplace: Any, settle: Any) -> None:
    code = """
import os, pathlib
state = pathlib.Path(os.environ["STATE"])
seen = [str(p) for p in state.rglob("*") if p.is_file() and p.name != "ca.pem"]
assert not [p for p in seen if "/images/" not in p], seen
import boto3
boto3.client("s3").list_objects_v2(Bucket=os.environ["BUCKET"])
"""
    root = str(workplace.cloud.folder.root.resolve())
    name = start(workplace, code, Environment={"STATE": root, "BUCKET": workplace.bucket})
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Completed"


def test_names_that_differ_in_case_only_are_one_job(workplace: Any, settle: Any) -> None:
    name = f"Case-{uuid.uuid4().hex[:8]}"
    start(workplace, SAVE, TrainingJobName=name)
    with pytest.raises(ClientError, match="must be unique"):
        start(workplace, SAVE, TrainingJobName=name.lower())
    ended(workplace, settle, name)


def test_a_job_without_a_bucket_for_its_results_fails(workplace: Any, settle: Any) -> None:
    name = start(workplace, "pass", OutputDataConfig={"S3OutputPath": "s3://there-is-no-such-bucket/x"})
    assert "NoSuchBucket" in ended(workplace, settle, name)["FailureReason"]


def test_a_trust_policy_may_name_the_source(workplace: Any, settle: Any, role: Any) -> None:
    arn, iam = role("sagemaker.amazonaws.com", []), workplace.cloud.client("iam", workplace.admin)

    def trust(source: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"ArnLike": {"aws:SourceArn": source}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.update_assume_role_policy(RoleName=arn.rpartition("/")[2], PolicyDocument=document)

    trust("arn:aws:sagemaker:*:*:pipeline/*")
    with pytest.raises(ClientError, match="Could not assume role"):
        start(workplace, SAVE, RoleArn=arn)
    trust("arn:aws:sagemaker:*:*:training-job/*")
    # The role is assumed; what it then lacks is the right to pull.
    assert (
        "pull permissions" in ended(workplace, settle, start(workplace, SAVE, RoleArn=arn))["FailureReason"]
    )
