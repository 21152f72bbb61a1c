"""What a pipeline step costs beyond its work: a chain of processing steps whose container does nothing.

The cost of a step is the execution's wall time divided by its steps: container start, S3, IAM and state
included. The container's own process (`python -c pass`) is measured in the same run as a reference.
Bound: 0.2 s (on 2 cores Metaflow's local runtime takes 0.33 s and KFP's subprocess runner 0.56 s).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from localcloud import lifecycle
from localcloud.connect import client_environment, connect
from localcloud.context import Cloud, Credentials

BOUND_S = 0.2
CHAINS = {"short": 10, "long": 50}
RUNS = 5


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "state"
        lifecycle.up(root)
        try:
            cloud, administrator = connect(root)
            return _measure(cloud, administrator, Path(folder))
        finally:
            lifecycle.down(root)


def _measure(cloud: Cloud, administrator: Credentials, folder: Path) -> dict[str, Any]:
    image, role = make_image(cloud, administrator, folder), make_role(cloud, administrator)
    sagemaker = cloud.client("sagemaker", administrator)
    for name, steps in CHAINS.items():
        sagemaker.create_pipeline(
            PipelineName=name, RoleArn=role, PipelineDefinition=json.dumps(empty_chain(steps, image, role))
        )
    per_step: dict[str, list[float]] = {name: [] for name in CHAINS}
    process: list[float] = []
    for _ in range(RUNS):
        for name, steps in CHAINS.items():
            per_step[name].append(_run(sagemaker, name) / steps)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        process.append(time.perf_counter() - started)
    figures = {
        f"{name}_chain_s_per_step": {
            "steps": steps,
            "median": round(statistics.median(per_step[name]), 4),
            "max": round(max(per_step[name]), 4),
        }
        for name, steps in CHAINS.items()
    }
    worst = max(figure["median"] for figure in figures.values())
    return {
        **figures,
        "own_process_s": round(statistics.median(process), 4),
        "bound_s": BOUND_S,
        "holds": worst <= BOUND_S,
    }


def _run(sagemaker: Any, pipeline: str) -> float:
    """Seconds of one execution, by the service's own clock."""
    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    while True:
        seen = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if seen["PipelineExecutionStatus"] == "Succeeded":
            return float((seen["LastModifiedTime"] - seen["CreationTime"]).total_seconds())
        if seen["PipelineExecutionStatus"] != "Executing":
            raise RuntimeError(f"execution {seen['PipelineExecutionStatus']}: {seen.get('FailureReason')}")
        time.sleep(0.2)


def empty_chain(steps: int, image: str, role: str) -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    arguments = {
        "AppSpecification": {"ImageUri": image},
        "RoleArn": role,
        "ProcessingResources": {"ClusterConfig": cluster},
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [],
        "Steps": [
            {
                "Name": f"Step{number}",
                "Type": "Processing",
                "Arguments": arguments,
                **({"DependsOn": [f"Step{number - 1}"]} if number else {}),
            }
            for number in range(steps)
        ],
    }


def make_role(cloud: Cloud, administrator: Credentials) -> str:
    def document(**statement: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})

    iam = cloud.client("iam", administrator)
    trust = document(Principal={"Service": "sagemaker.amazonaws.com"}, Action="sts:AssumeRole")
    arn = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="bench", PolicyName="all", PolicyDocument=document(Action="*", Resource="*"))
    return str(arn)


def make_image(cloud: Cloud, administrator: Credentials, folder: Path) -> str:
    context = folder / "image"
    context.mkdir()
    (context / "nothing.py").write_text("")
    (context / "Dockerfile").write_text(
        'FROM python:3.11\nCOPY nothing.py /opt/nothing.py\nENTRYPOINT ["python", "/opt/nothing.py"]\n'
    )
    cloud.client("ecr", administrator).create_repository(repositoryName="bench")
    image = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/bench:1"
    for command in (["build", "--tag", image, str(context)], ["push", image]):
        subprocess.run(
            [sys.executable, "-m", "localcloud.containers.docker_cli", *command],
            check=True,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin"} | client_environment(cloud, administrator),
        )
    return image
