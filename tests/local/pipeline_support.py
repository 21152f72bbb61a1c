"""A tiny image, a role and a bucket, and pipelines made of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from localcloud.context import Cloud, Credentials

# One script plays every container: it writes, copies, fails, sleeps, trains and serves.
SCRIPT = r"""
import http.server, json, os, pathlib, shutil, sys, time

BASE = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))

class Server(http.server.BaseHTTPRequestHandler):
    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self._answer(b"")
    def do_POST(self):
        rows = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        self._answer(b"".join(b"<" + row + b">\n" for row in rows))
    def log_message(self, *arguments):
        pass

def main(command, *arguments):
    output = BASE / "processing" / "out"
    if command == "write":
        (output / arguments[0]).write_text(arguments[1])
    elif command == "environment":
        (output / "report.json").write_text(json.dumps({"score": float(os.environ["SCORE"])}))
    elif command == "fail":
        message = BASE / "output" / "message"
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_text(arguments[0])
        sys.exit(3)
    elif command == "crash":
        (BASE / "output" / "failure").write_text(arguments[0])
        sys.exit(3)
    elif command == "sleep":
        time.sleep(float(arguments[0]))
    elif command == "train":
        names = sorted(path.name for path in (BASE / "input" / "data" / "train").rglob("*"))
        parameters = json.loads((BASE / "input" / "config" / "hyperparameters.json").read_text())
        (BASE / "model" / "model.json").write_text(json.dumps({"files": names, **parameters}))
        print(" ".join(f"{name}={value};" for name, value in parameters.items()), flush=True)
        time.sleep(float(parameters.get("sleep", 0)))
        sys.exit(int(parameters.get("exit", 0)))
    elif command == "serve":
        port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
        host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "127.0.0.1")
        while "GATE" in os.environ and not os.path.exists(os.environ["GATE"]):
            time.sleep(0.05)
        http.server.ThreadingHTTPServer((host, port), Server).serve_forever()

main(*sys.argv[1:])
"""

ALL = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]


class Bench:
    """Makes and runs pipelines on the session's cloud."""

    def __init__(self, cloud: Cloud, admin: Credentials, role_arn: str, folder: Path) -> None:
        self.cloud, self.role_arn = cloud, role_arn
        self.client = cloud.client("sagemaker", admin)
        self.s3 = cloud.client("s3", admin)
        self.bucket = f"bench-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.image = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/{self.bucket}:1"
        cloud.client("ecr", admin).create_repository(repositoryName=self.bucket)
        (folder / "step.py").write_text(SCRIPT)
        (folder / "Dockerfile").write_text(
            "FROM python:3.11\n"
            "COPY step.py /opt/program/step.py\n"
            'ENTRYPOINT ["python", "/opt/program/step.py"]\n'
        )
        environment = {
            "PATH": "/usr/bin:/bin",
            "MODELYARD_STATE": str(cloud.folder.root),
            **cloud.environment(admin),
        }
        for command in (["build", "--tag", self.image, str(folder)], ["push", self.image]):
            subprocess.run(
                [sys.executable, "-m", "localcloud.containers.docker_cli", *command],
                check=True,
                env=environment,
                cwd=Path(__file__).parents[2],
                capture_output=True,
            )

    def uri(self, *parts: str) -> str:
        return "/".join((f"s3://{self.bucket}", *parts))

    def processing(self, name: str, *command: Any, **members: Any) -> dict[str, Any]:
        """A processing step whose output `out` goes below the execution's prefix."""
        place = {
            "Std:Join": {"On": "/", "Values": [self.uri(), {"Get": "Execution.PipelineExecutionId"}, name]}
        }
        arguments = {
            "AppSpecification": {"ImageUri": self.image, "ContainerArguments": list(command)},
            "RoleArn": self.role_arn,
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": place,
                            "LocalPath": "/opt/ml/processing/out",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            **members.pop("Arguments", {}),
        }
        return {"Name": name, "Type": "Processing", "Arguments": arguments, **members}

    def report(self, name: str, *command: Any, **members: Any) -> dict[str, Any]:
        """A processing step with the property file Report in `report.json`."""
        file = {"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}
        return self.processing(name, *command, PropertyFiles=[file], **members)

    def create(self, *steps: dict[str, Any], parameters: Any = (), **request: Any) -> str:
        """A pipeline; returns its name."""
        name = f"pipeline-{uuid.uuid4().hex[:8]}"
        self.client.create_pipeline(
            PipelineName=name,
            RoleArn=request.pop("RoleArn", self.role_arn),
            PipelineDefinition=definition(*steps, parameters=parameters),
            **request,
        )
        return name

    def start(self, name: str, **request: Any) -> str:
        values = [{"Name": key, "Value": value} for key, value in request.pop("values", {}).items()]
        arn: str = self.client.start_pipeline_execution(
            PipelineName=name, PipelineParameters=values, **request
        )["PipelineExecutionArn"]
        return arn

    def wait(self, arn: str, seconds: float = 600) -> dict[str, Any]:
        """The execution when it is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            execution: dict[str, Any] = self.client.describe_pipeline_execution(PipelineExecutionArn=arn)
            if execution["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                return execution
            time.sleep(0.05)
        raise TimeoutError(f"{arn} after {seconds} s: {self.steps(arn)}")

    def run(
        self, *steps: dict[str, Any], parameters: Any = (), **request: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Create, start and wait; returns the execution and its steps by name."""
        values = request.pop("values", {})
        arn = self.start(self.create(*steps, parameters=parameters, **request), values=values)
        execution = self.wait(arn)
        return execution, self.steps(arn)

    def steps(self, arn: str) -> dict[str, Any]:
        """The execution's steps by name, in the order of their start."""
        found = self.client.list_pipeline_execution_steps(
            PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100
        )["PipelineExecutionSteps"]
        return {step["StepName"]: step for step in found}

    def job(self, step: dict[str, Any]) -> dict[str, Any]:
        """The job of a step, as its Describe operation answers."""
        ((kind, metadata),) = step["Metadata"].items()
        noun = kind.removesuffix("Job")
        # ARNs have names in lower case.
        listed = getattr(self.client, f"list_{noun.lower()}_jobs")(MaxResults=100)[f"{kind}Summaries"]
        (name,) = [job[f"{kind}Name"] for job in listed if job[f"{kind}Arn"] == metadata["Arn"]]
        answer: dict[str, Any] = getattr(self.client, f"describe_{noun.lower()}_job")(**{f"{kind}Name": name})
        return answer

    def read(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return str(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def definition(*steps: dict[str, Any], parameters: Any = ()) -> str:
    return json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)})


def gate(step: str, limit: Any, then: list[Any], otherwise: list[Any], path: str = "score") -> dict[str, Any]:
    """A condition step: the report's value at most `limit`."""
    value = {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.Report"}, "Path": path}}
    return {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": value, "RightValue": limit}],
            "IfSteps": then,
            "ElseSteps": otherwise,
        },
    }
