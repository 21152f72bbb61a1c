"""The many objects of a job, which its role must be allowed one by one, and their keys too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.local.support import unique
from tests.local.workloads.conftest import PULL, REPORT, make_role
from tests.local.workloads.test_jobs_processing import ended, s3_input, s3_output, start

COUNT = 300
COPY = """
import pathlib, shutil
shutil.copytree("/opt/ml/processing/input/data", "/opt/ml/processing/output", dirs_exist_ok=True)
"""


@pytest.fixture(scope="module")
def key(workplace: Any) -> str:
    arn: str = workplace.cloud.client("kms", workplace.admin).create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def objects(workplace: Any, key: str) -> dict[str, bytes]:
    """Under `items/` and the customer's key, with names that URLs and folders may trip over."""
    names = ["a b.txt", "ü+%20.txt", "a&b=c?d#e.txt", "empty.txt", "v2/graphql.txt", "_aws/iceberg.txt"]
    contents = {name: f"content of {name}".encode() for name in names}
    contents |= {f"class-{i % 7}/{i:04}.txt": str(i).encode() * 40 for i in range(COUNT - len(names))}
    contents["empty.txt"] = b""

    def put(name: str) -> None:
        workplace.s3.put_object(
            Bucket=workplace.bucket,
            Key=f"items/{name}",
            Body=contents[name],
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=key,
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, contents))
    return contents


@pytest.fixture
def role(workplace: Any, key: str) -> Callable[..., str]:
    """A role that may list and write, and else what a test grants it."""
    arn = f"arn:aws:s3:::{workplace.bucket}"

    def make(*read: str, decrypt: bool = True, **condition: Any) -> str:
        objects = [f"{arn}/code/*", *(f"{arn}/{pattern}" for pattern in read)]
        of_key = ["kms:GenerateDataKey", *(["kms:Decrypt"] if decrypt else [])]
        statements: list[dict[str, Any]] = [
            {"Action": [*PULL, *REPORT], "Resource": "*"},
            {"Action": "s3:ListBucket", "Resource": arn},
            {"Action": "s3:PutObject", "Resource": f"{arn}/out/*"},
            {"Action": "s3:GetObject", "Resource": objects, **condition},
            {"Action": of_key, "Resource": key},
        ]
        arn_of_role: str = make_role(
            workplace.cloud, workplace.admin, [{"Effect": "Allow", **statement} for statement in statements]
        )
        return arn_of_role

    return make


@contextmanager
def policy(workplace: Any, *statements: dict[str, Any]) -> Iterator[None]:
    """The bucket's policy until the block ends."""
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    workplace.s3.put_bucket_policy(Bucket=workplace.bucket, Policy=document)
    try:
        yield
    finally:
        workplace.s3.delete_bucket_policy(Bucket=workplace.bucket)


def run(workplace: Any, settle: Any, role_arn: str, key: str | None = None) -> tuple[str, dict[str, Any]]:
    """A job that copies `items/` to `out/NAME/`: its name, and how it ended."""
    name = unique("objects")
    code = workplace.put(f"code/{name}/main.py", COPY)
    outputs = s3_output(workplace.uri(f"out/{name}"))
    job = start(
        workplace,
        COPY,
        RoleArn=role_arn,
        ProcessingInputs=[
            s3_input("code", code),
            s3_input("data", workplace.uri("items")),
        ],
        AppSpecification={
            "ImageUri": workplace.image,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/main.py"],
        },
        ProcessingOutputConfig={**outputs, **({"KmsKeyId": key} if key else {})},
    )
    return name, ended(workplace, settle, job)


def test_every_object_is_asked_for_and_its_key(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes], key: str, audit: Any
) -> None:
    role_arn = role("items/*")
    name, job = run(workplace, settle, role_arn, key)
    assert job["ProcessingJobStatus"] == "Completed", job
    found = {uri.removeprefix(f"out/{name}/"): workplace.get(uri) for uri in workplace.keys(f"out/{name}/")}
    assert found == objects

    session = role_arn.rpartition("/")[2]
    mine = [line for line in audit() if f"/{session}/" in line["principal"]]
    read = [line["resource"] for line in mine if line["action"] == "s3:GetObject"]
    assert {line["decision"] for line in mine if line["action"].startswith(("s3:", "kms:"))} == {"Allow"}
    bucket = f"arn:aws:s3:::{workplace.bucket}"
    assert sorted(arn for arn in read if "/items/" in arn) == sorted(f"{bucket}/items/{o}" for o in objects)
    written = [line["resource"] for line in mine if line["action"] == "s3:PutObject"]
    assert sorted(written) == sorted(f"{bucket}/out/{name}/{o}" for o in objects)
    decrypted = [line for line in mine if line["action"] == "kms:Decrypt"]
    contexts = [line["conditions"]["kms:EncryptionContext:aws:s3:arn"] for line in decrypted]
    assert sorted(contexts) == sorted(f"{bucket}/items/{o}" for o in objects)
    assert {line["resource"] for line in decrypted} == {key}


def test_what_a_job_writes_is_as_a_client_would_have(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes], key: str
) -> None:
    name, job = run(workplace, settle, role("items/*"), key)
    assert job["ProcessingJobStatus"] == "Completed", job
    own, theirs = (
        workplace.s3.head_object(Bucket=workplace.bucket, Key=f"{prefix}/a b.txt", ChecksumMode="ENABLED")
        for prefix in (f"out/{name}", "items")
    )
    names = set(own) | set(theirs)
    assert {"ChecksumCRC32", "SSEKMSKeyId"} <= names
    for member in names - {"ResponseMetadata", "LastModified"}:
        assert own.get(member) == theirs.get(member), member


def test_one_object_that_the_role_may_not_read_fails_the_job(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes]
) -> None:
    _, job = run(workplace, settle, role("items/class-0/*", "items/class-1/*"))
    assert job["ProcessingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert reason.startswith("ClientError: Data download failed:AccessDenied (403): User: "), reason
    assert "is not authorized to perform: s3:GetObject" in reason


def test_an_object_whose_key_the_role_may_not_use_fails_the_job(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes], key: str
) -> None:
    _, job = run(workplace, settle, role("items/*", decrypt=False))
    assert job["ProcessingJobStatus"] == "Failed"
    assert f"not authorized to perform: kms:Decrypt on resource: {key}" in job["FailureReason"]


def test_a_bucket_s_denial_of_one_object_fails_the_job(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes]
) -> None:
    arn = f"arn:aws:s3:::{workplace.bucket}"
    everybody = {"Effect": "Deny", "Principal": "*"}
    one = {**everybody, "Action": "s3:GetObject", "Resource": f"{arn}/items/class-3/0003.txt"}
    plain = {
        **everybody,
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    with policy(workplace, plain):
        assert run(workplace, settle, role("items/*"))[1]["ProcessingJobStatus"] == "Completed"
    with policy(workplace, plain, one):
        _, job = run(workplace, settle, role("items/*"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "with an explicit deny in a resource-based policy" in job["FailureReason"]
    assert "items/class-3/0003.txt" in job["FailureReason"]


def test_a_grant_by_the_objects_tags_is_asked_for_each(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes]
) -> None:
    condition = {"Condition": {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}}
    _, job = run(workplace, settle, role("items/*", **condition))
    assert "s3:GetObject" in job["FailureReason"]


def test_a_fault_of_s3_meets_a_jobs_objects(
    workplace: Any, settle: Any, role: Any, objects: dict[str, bytes]
) -> None:
    file = workplace.cloud.folder.faults
    fault = {"service": "s3", "operation": "GET", "path": "/items/class-5/", "status": 403, "code": "Refused"}
    file.write_text(json.dumps([fault]))
    try:
        _, job = run(workplace, settle, role("items/*"))
    finally:
        file.unlink()
    assert "Data download failed:Refused (403)" in job["FailureReason"]
