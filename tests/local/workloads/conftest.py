"""What runs on the session's cloud: a bucket, an execution role, and one small image.

The image's program does what the request's code says, so that each test shows its container's code itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials

DOCKERFILE = """
FROM public.ecr.aws/docker/library/python:3.11-slim
RUN pip install --no-cache-dir uvicorn
COPY program /opt/program
ENV PYTHONPATH=/opt/program
WORKDIR /opt/program
ENTRYPOINT ["python", "/opt/program/run.py"]
"""
RUN = """
import json, os, runpy, sys
assert sys.argv[1:] in (["train"], ["serve"]), sys.argv
if sys.argv[1] == "serve":
    runpy.run_path(os.environ.get("SERVER", "/opt/program/server.py"), run_name="__main__")
else:
    exec(json.loads(json.load(open("/opt/ml/input/config/hyperparameters.json"))["code"]))
"""
SERVER = (Path(__file__).parent / "model_server.py").read_text()
PULL = [
    "ecr:GetAuthorizationToken",
    "ecr:BatchGetImage",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
]


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def docker(cloud: Cloud, admin: Credentials, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **client_environment(cloud, admin)}
    command = [sys.executable, "-m", "localcloud.containers.docker_cli", *arguments]
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Workplace:
    """Everything a workload test needs."""

    cloud: Cloud
    admin: Credentials
    bucket: str
    role: str
    image: str

    @property
    def s3(self) -> Any:
        return self.cloud.client("s3", self.admin)

    @property
    def sagemaker(self) -> Any:
        return self.cloud.client("sagemaker", self.admin)

    @property
    def runtime(self) -> Any:
        return self.cloud.client("sagemaker-runtime", self.admin)

    def put(self, key: str, body: bytes | str) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in found]

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def log(self, group: str, prefix: str) -> list[str]:
        logs = self.cloud.client("logs", self.admin)
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        lines = []
        for stream in streams:
            events = logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
            lines += [event["message"] for event in events]
        return lines


def make_role(cloud: Cloud, admin: Credentials, statements: list[dict[str, Any]]) -> str:
    iam, name = cloud.client("iam", admin), unique("execution")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=policy)
    return arn


def set_up(cloud: Cloud, admin: Credentials, context: Path) -> Workplace:
    """A bucket, a role that may use it and pull images, and the image, built and pushed."""
    bucket = unique("work")
    cloud.client("s3", admin).create_bucket(Bucket=bucket)
    arn = f"arn:aws:s3:::{bucket}"
    objects = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [arn, f"{arn}/*"],
    }
    pull = {"Effect": "Allow", "Action": PULL, "Resource": "*"}
    execution_role = make_role(cloud, admin, [objects, pull])
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "program").mkdir()
    (context / "program" / "run.py").write_text(RUN)
    (context / "program" / "server.py").write_text(SERVER)
    repository = unique("tools")
    cloud.client("ecr", admin).create_repository(repositoryName=repository)
    uri = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/{repository}:1"
    for arguments in (
        ["build", "--tag", "tools", "--platform", "linux/amd64", "."],
        ["tag", "tools", uri],
        ["push", uri],
    ):
        result = docker(cloud, admin, *arguments, cwd=context)
        assert result.returncode == 0, result.stderr
    return Workplace(cloud=cloud, admin=admin, bucket=bucket, role=execution_role, image=uri)


@pytest.fixture(scope="session")
def workplace(cloud: Cloud, admin: Credentials, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return set_up(cloud, admin, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="session")
def make_workplace() -> Callable[[Cloud, Credentials, Path], Workplace]:
    """The same on a cloud of the test's own."""
    return set_up


def wait(describe: Callable[[], dict[str, Any]], member: str, seconds: float = 60) -> dict[str, Any]:
    """Poll until a status is final."""
    import time

    deadline = time.monotonic() + seconds
    while True:
        answer = describe()
        if answer[member] not in ("InProgress", "Stopping", "Creating", "Updating", "Deleting"):
            return answer
        assert time.monotonic() < deadline, json.dumps(answer, default=str)
        time.sleep(0.05)


@pytest.fixture(scope="session")
def settle() -> Callable[..., dict[str, Any]]:
    """`settle(describe, "TrainingJobStatus")`: the answer once the status is final."""
    return wait


@pytest.fixture(scope="session")
def run_docker(cloud: Cloud, admin: Credentials) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_docker("build", ".", cwd=folder)`: modelyard-docker against the session's cloud."""

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return docker(cloud, admin, *arguments, cwd=cwd)

    return run
