"""What a pipeline step costs beyond its work: a chain of processing steps whose container does nothing.

The cost of a step is the execution's wall time divided by its steps: container start, S3, IAM and state
included. In the same run, in turn: the container's own process (`python -c pass`), and ten empty steps on
Metaflow's local runtime and on KFP's subprocess runner, where `tools/setup.py peers` has installed them.
Bound: 0.2 s.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from localcloud import lifecycle
from localcloud.connect import client_environment, connect
from localcloud.context import Cloud, Credentials

BOUND_S = 0.2
CHAINS = {"short": 10, "long": 50}
RUNS = 5
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


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
    others: dict[str, list[float]] = {name: [] for name in PEERS} if PEERS_PYTHON.exists() else {}
    for _ in range(RUNS):
        for name, times in others.items():
            times.append(PEERS[name](folder))
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
        **{f"{name}_s_per_step": round(statistics.median(times), 4) for name, times in others.items()},
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


def _metaflow(folder: Path) -> float:
    """Seconds per step, between the lines with which it starts and ends the workflow."""
    home = {
        "METAFLOW_HOME": str(folder),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "METAFLOW_USER": "b",
    }
    out = _peer("metaflow_chain.py", "--no-pylint", "run", **home)
    times = [
        datetime.fromisoformat(line[:23])
        for line in out.splitlines()
        if "Workflow starting" in line or line.endswith("Done!")
    ]
    return (times[-1] - times[0]).total_seconds() / 10


def _kfp(folder: Path) -> float:
    return float(_peer("kfp_chain.py", HOME=str(folder)).splitlines()[-1]) / 10


def _peer(script: str, *arguments: str, **environment: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        basis = {"PATH": f"{PEERS_PYTHON.parent}:/usr/bin:/bin", "HOME": folder, "TERM": "dumb"}
        return subprocess.run(
            [PEERS_PYTHON, ROOT / "benchmarks" / "peers" / script, *arguments],
            check=True, capture_output=True, text=True, cwd=folder, env=basis | environment,
        ).stdout  # fmt: skip


PEERS: dict[str, Callable[[Path], float]] = {"metaflow": _metaflow, "kfp": _kfp}


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


def make_role(cloud: Cloud, administrator: Credentials, name: str = "bench") -> str:
    def document(**statement: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})

    iam = cloud.client("iam", administrator)
    trust = document(Principal={"Service": "sagemaker.amazonaws.com"}, Action="sts:AssumeRole")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document(Action="*", Resource="*"))
    return str(arn)


def make_image(cloud: Cloud, administrator: Credentials, folder: Path, program: str = "") -> str:
    """An image whose containers run `program`, Python source, and end."""
    context = folder / "image"
    context.mkdir()
    (context / "program.py").write_text(program)
    (context / "Dockerfile").write_text(
        'FROM python:3.11\nCOPY program.py /opt/program.py\nENTRYPOINT ["python", "/opt/program.py"]\n'
    )
    return push_image(cloud, administrator, context, "bench")


def push_image(
    cloud: Cloud, administrator: Credentials, context: Path, repository: str, file: str = "Dockerfile"
) -> str:
    """Build the folder `context` and push it to a new repository, as `cdk deploy` does; the image's URI."""
    cloud.client("ecr", administrator).create_repository(repositoryName=repository)
    image = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/{repository}:1"
    build = ["build", "--tag", image, "--file", str(context / file), str(context)]
    for command in (build, ["push", image]):
        subprocess.run(
            [sys.executable, "-m", "localcloud.containers.docker_cli", *command],
            check=True,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin"} | client_environment(cloud, administrator),
        )
    return image
