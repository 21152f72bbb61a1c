"""What runs on the session's cloud: a bucket, an execution role, and one small image.

The image's program does what the request's code says, so that each test shows its container's code itself.
"""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials
from tests.local.support import audited as read_audit
from tests.local.support import unique

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
REPORT = [
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "cloudwatch:PutMetricData",
]


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
    """A bucket, a role that may use it, pull images and write logs, and the image, built and pushed."""
    bucket = unique("work")
    cloud.client("s3", admin).create_bucket(Bucket=bucket)
    arn = f"arn:aws:s3:::{bucket}"
    objects = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [arn, f"{arn}/*"],
    }
    pull = {"Effect": "Allow", "Action": PULL, "Resource": "*"}
    report = {"Effect": "Allow", "Action": REPORT, "Resource": "*"}
    execution_role = make_role(cloud, admin, [objects, pull, report])
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


def wait(describe: Callable[[], dict[str, Any]], member: str, seconds: float = 300) -> dict[str, Any]:
    """Poll until a status is final."""
    deadline = time.monotonic() + seconds
    while True:
        answer = describe()
        if answer[member] not in (
            "InProgress",
            "Stopping",
            "Creating",
            "Updating",
            "SystemUpdating",
            "RollingBack",
            "Deleting",
        ):
            return answer
        assert time.monotonic() < deadline, json.dumps(answer, default=str)
        time.sleep(0.05)


def until(found: Callable[[], Any], seconds: float = 180) -> Any:
    """Poll until there is something; what it is."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def audited(cloud: Cloud, admin: Credentials) -> list[dict[str, Any]]:
    """The audit's records of all that was decided before this call."""
    return read_audit(cloud.folder.audit, cloud.client("iam", admin))


GATE = """
import socket
gate = socket.create_connection({address!r})
def shut(seconds=None):
    gate.settimeout(seconds)
    try:
        gate.recv(1)
    except TimeoutError:
        return True
    except OSError:
        pass
    return False
"""


class Gate:
    """Holds a job's program for as long as the test needs it to run.

    `code` goes before the program: `shut(seconds)` in it returns False once the gate is open, else True after
    that time.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.code = GATE.format(address=self._server.getsockname())

    def open(self) -> None:
        """Let the program go on."""
        self._server.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()


@pytest.fixture(scope="session")
def settle() -> Callable[..., dict[str, Any]]:
    """`settle(describe, "TrainingJobStatus")`: the answer once the status is final."""
    return wait


class Deployer:
    """Makes models, configurations and endpoints, and takes them away at the end of the module."""

    def __init__(self, workplace: Any, settle: Any) -> None:
        self.workplace, self.settle = workplace, settle
        self.endpoints: list[str] = []

    def model(self, name: str, *, role: str | None = None, **container: Any) -> str:
        self.workplace.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=role or self.workplace.role,
            PrimaryContainer={"Image": self.workplace.image, **container},
        )
        return name

    def single(self, label: str, **environment: str) -> str:
        name = f"{label}-{uuid.uuid4().hex[:8]}"
        url = self.workplace.put(f"models/{name}.tar.gz", self.archive(label))
        return self.model(name, ModelDataUrl=url, Environment=environment)

    def config(self, *variants: dict[str, Any]) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        self.workplace.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=list(variants)
        )
        return name

    def endpoint(self, config: str) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.workplace.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.endpoints.append(name)
        return name

    def up(self, model: str, count: int = 1) -> str:
        name = self.endpoint(self.config(self.variant("AllTraffic", model, count)))
        assert self.ready(name)["EndpointStatus"] == "InService"
        return name

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.workplace.sagemaker.describe_endpoint(EndpointName=name))

    def ready(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.settle(lambda: self.describe(name), "EndpointStatus")
        return answer

    def invoke(self, name: str, body: bytes | str, **members: Any) -> dict[str, Any]:
        return dict(self.workplace.runtime.invoke_endpoint(EndpointName=name, Body=body, **members))

    def ask(self, name: str, body: bytes | str, **members: Any) -> str:
        return str(self.invoke(name, body, **members)["Body"].read().decode())

    def close(self) -> None:
        for name in self.endpoints:
            if self.exists(name) and self.ready(name):
                self.workplace.sagemaker.delete_endpoint(EndpointName=name)
        until(lambda: not any(self.exists(name) for name in self.endpoints))

    def exists(self, name: str) -> bool:
        try:
            self.describe(name)
        except ClientError:
            return False
        return True

    @staticmethod
    def variant(name: str, model: str, count: int = 1, weight: float = 1.0) -> dict[str, Any]:
        return {
            "VariantName": name,
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": count,
            "InitialVariantWeight": weight,
        }

    @staticmethod
    def failure(call: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            call()
        answer: dict[str, Any] = caught.value.response
        return answer

    def without_retries(self) -> Any:
        place = self.workplace
        return boto3.client(
            "sagemaker-runtime",
            region_name=place.cloud.region,
            endpoint_url=place.cloud.endpoint_url,
            verify=str(place.cloud.ca_bundle),
            aws_access_key_id=place.admin.access_key_id,
            aws_secret_access_key=place.admin.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}),
        )

    @staticmethod
    def archive(name: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            member = tarfile.TarInfo("name.txt")
            member.size = len(name)
            file.addfile(member, io.BytesIO(name.encode()))
        return buffer.getvalue()


@pytest.fixture(scope="module")
def deployer(workplace: Any, settle: Any) -> Iterator[Deployer]:
    made = Deployer(workplace, settle)
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_deployer() -> Callable[[Any], Deployer]:
    """The same on a workplace of the test's own; `close` it."""
    return lambda place: Deployer(place, wait)


@pytest.fixture(scope="session")
def run_docker(cloud: Cloud, admin: Credentials) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_docker("build", ".", cwd=folder)`: modelyard-docker against the session's cloud."""

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return docker(cloud, admin, *arguments, cwd=cwd)

    return run
