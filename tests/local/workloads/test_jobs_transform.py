"""Batch transform on the local cloud, with a real server."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import uuid
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.workloads.conftest import until

GROUP = "/aws/sagemaker/TransformJobs"


def archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo("name.txt")
        member.size = len(name)
        file.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model(workplace: Any) -> str:
    name = f"batch-{uuid.uuid4().hex[:8]}"
    url = workplace.put(f"models/{name}.tar.gz", archive("m"))
    workplace.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=workplace.role,
        PrimaryContainer={"Image": workplace.image, "ModelDataUrl": url},
    )
    return name


def start(workplace: Any, model: str, source: str, **changes: Any) -> str:
    name = f"transform-{uuid.uuid4().hex[:8]}"
    split = changes.pop("SplitType", "Line")
    request: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": workplace.uri(source)}},
            "ContentType": "text/plain",
            "SplitType": split,
            "CompressionType": changes.pop("CompressionType", "None"),
        },
        "TransformOutput": {
            "S3OutputPath": workplace.uri(f"{name}/"),
            "AssembleWith": "Line",
            "Accept": "text/csv",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    workplace.sagemaker.create_transform_job(**{**request, **changes})
    return name


def ended(workplace: Any, settle: Any, name: str) -> dict[str, Any]:
    def describe() -> Any:
        return workplace.sagemaker.describe_transform_job(TransformJobName=name)

    answer: dict[str, Any] = settle(describe, "TransformJobStatus")
    return answer


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_lines_keep_their_order(workplace: Any, settle: Any, model: str, strategy: str) -> None:
    rows = [f"row-{index}" for index in range(50)]
    workplace.put(f"b1-{strategy}/deep/in.csv", "\n".join(rows) + "\n")
    name = start(
        workplace,
        model,
        f"b1-{strategy}",
        BatchStrategy=strategy,
        MaxConcurrentTransforms=4,
        MaxPayloadInMB=1,
    )
    answer = ended(workplace, settle, name)
    assert answer["TransformJobStatus"] == "Completed", answer
    output = workplace.get(f"{name}/deep/in.csv.out").decode()
    assert output == "".join(f"m:{row}\n" for row in rows)
    assert "listening" in workplace.log(GROUP, f"{name}/i-")


def test_without_split_each_object_is_one_request(workplace: Any, settle: Any, model: str) -> None:
    workplace.put("b2/a", "x\ny")
    workplace.put("b2/b.gz", gzip.compress(b"packed"))
    name = start(workplace, model, "b2/a", SplitType="None")
    assert ended(workplace, settle, name)["TransformJobStatus"] == "Completed"
    assert workplace.get(f"{name}/a.out") == b"m:x\nm:y\n"
    name = start(workplace, model, "b2/b.gz", CompressionType="Gzip")
    assert ended(workplace, settle, name)["TransformJobStatus"] == "Completed"
    assert workplace.get(f"{name}/b.gz.out") == b"m:packed\n"


def test_instances_share_the_objects(workplace: Any, settle: Any, model: str) -> None:
    for index in range(4):
        workplace.put(f"b3/{index}.csv", str(index))
    name = start(
        workplace,
        model,
        "b3/",
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 2},
    )
    assert ended(workplace, settle, name)["TransformJobStatus"] == "Completed"
    assert [workplace.get(f"{name}/{i}.csv.out") for i in range(4)] == [b"m:%d\n" % i for i in range(4)]


def manifest(workplace: Any, name: str, *entries: Any) -> dict[str, Any]:
    """A transform job's input that a manifest names."""
    uri = workplace.put(f"{name}.manifest", json.dumps(entries))
    source = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": uri}}
    return {"DataSource": source, "ContentType": "text/plain", "SplitType": "Line"}


def test_a_manifest_names_the_objects(workplace: Any, settle: Any, model: str) -> None:
    for key in ("b9/a/1.csv", "b9/2.csv", "b9/not-named.csv"):
        workplace.put(key, f"{key}\n")
    given = manifest(workplace, "b9", {"prefix": workplace.uri("b9/")}, "a/1.csv", "2.csv")
    name = start(workplace, model, "", TransformInput=given)
    answer = ended(workplace, settle, name)
    assert answer["TransformJobStatus"] == "Completed", answer
    # Their names below the prefix are kept, and so is which answer is whose.
    assert sorted(workplace.keys(f"{name}/")) == [f"{name}/2.csv.out", f"{name}/a/1.csv.out"]
    assert workplace.get(f"{name}/a/1.csv.out") == b"m:b9/a/1.csv\n"
    assert workplace.get(f"{name}/2.csv.out") == b"m:b9/2.csv\n"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (({"prefix": "s3://{bucket}/b10/"}, "gone.csv"), "s3://{bucket}/b10/gone.csv"),
        (("1.csv",), "b10.manifest is not a JSON list of a prefix object and relative names"),
    ],
)
def test_a_manifest_of_what_is_not_there_fails_the_job(
    workplace: Any, settle: Any, model: str, entries: tuple[Any, ...], reason: str
) -> None:
    named = json.loads(json.dumps(entries).replace("{bucket}", workplace.bucket))
    name = start(workplace, model, "", TransformInput=manifest(workplace, "b10", *named))
    answer = ended(workplace, settle, name)
    assert answer["TransformJobStatus"] == "Failed"
    assert reason.replace("{bucket}", workplace.bucket) in answer["FailureReason"]
    assert workplace.keys(f"{name}/") == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("refuse", "ClientError: s3://{bucket}/b4-refuse: the model answered 400: bad row"),
        ("fail", "AlgorithmError: s3://{bucket}/b4-fail: the model answered 500: model is broken"),
        ("crash", "AlgorithmError: listening, exit code: 9"),
    ],
)
def test_what_the_model_refuses_fails_the_job(
    workplace: Any, settle: Any, model: str, row: str, reason: str
) -> None:
    workplace.put(f"b4-{row}", row)
    name = start(workplace, model, f"b4-{row}")
    answer = ended(workplace, settle, name)
    assert answer["TransformJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith(reason.format(bucket=workplace.bucket))
    assert workplace.keys(f"{name}/") == []


def test_a_record_over_the_payload_bound_is_refused(workplace: Any, settle: Any, model: str) -> None:
    workplace.put("b5", "x" * 1_100_000)
    answer = ended(workplace, settle, start(workplace, model, "b5", MaxPayloadInMB=1))
    assert "record 1 has 1100000 bytes, more than MaxPayloadInMB" in answer["FailureReason"]


def test_stop(workplace: Any, settle: Any, model: str) -> None:
    workplace.put("b6", "sleep3600")
    name = start(workplace, model, "b6")
    describe = workplace.sagemaker.describe_transform_job
    until(lambda: "TransformStartTime" in describe(TransformJobName=name))
    workplace.sagemaker.stop_transform_job(TransformJobName=name)
    assert ended(workplace, settle, name)["TransformJobStatus"] == "Stopped"


def test_list_filters_and_pages(workplace: Any, settle: Any, model: str) -> None:
    workplace.put("b8", "1")
    mark = uuid.uuid4().hex[:6]
    names = [f"listed-{mark}-{index}" for index in range(3)]
    for name in names:
        start(workplace, model, "b8", TransformJobName=name)
    described = [ended(workplace, settle, name) for name in names]

    def listed(**request: Any) -> dict[str, Any]:
        return dict(workplace.sagemaker.list_transform_jobs(NameContains=mark, **request))

    # Newest first.
    found = listed()["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in found] == names[::-1]
    for job, shown in zip(found, described[::-1], strict=True):
        assert job.pop("LastModifiedTime") >= job["CreationTime"]
        assert job == {member: shown[member] for member in job}
        assert job.keys() == {
            "TransformJobName",
            "TransformJobArn",
            "CreationTime",
            "TransformEndTime",
            "TransformJobStatus",
        }
    page = {"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 2}
    first = listed(**page)
    rest = listed(**page, NextToken=first["NextToken"])
    assert [job["TransformJobName"] for job in first["TransformJobSummaries"]] == names[:2]
    assert [job["TransformJobName"] for job in rest["TransformJobSummaries"]] == names[2:]
    assert "NextToken" not in rest
    assert len(listed(StatusEquals="Completed")["TransformJobSummaries"]) == 3
    assert listed(StatusEquals="Failed")["TransformJobSummaries"] == []
    earlier = described[0]["CreationTime"] - timedelta(minutes=1)
    assert listed(CreationTimeBefore=earlier)["TransformJobSummaries"] == []
    assert len(listed(CreationTimeAfter=earlier)["TransformJobSummaries"]) == 3


def test_a_lost_artifact_is_named(workplace: Any, settle: Any) -> None:
    name = f"lost-{uuid.uuid4().hex[:8]}"
    url = workplace.put(f"models/{name}.tar.gz", archive("m"))
    workplace.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=workplace.role,
        PrimaryContainer={"Image": workplace.image, "ModelDataUrl": url},
    )
    workplace.s3.delete_object(Bucket=workplace.bucket, Key=f"models/{name}.tar.gz")
    workplace.put("b7", "1")
    answer = ended(workplace, settle, start(workplace, name, "b7"))
    assert f'from URL: "{url}"' in answer["FailureReason"]


def test_what_cannot_run_is_refused_at_create(workplace: Any, model: str) -> None:
    with pytest.raises(ClientError, match="Could not find model"):
        start(workplace, "no-such-model", "x")
    with pytest.raises(ClientError, match="DataProcessing: it needs ContentType text/csv"):
        start(workplace, model, "x", DataProcessing={"JoinSource": "Input"})
    with pytest.raises(ClientError, match="SplitType RecordIO"):
        start(workplace, model, "x", SplitType="RecordIO")
