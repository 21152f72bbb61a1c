"""What becomes of jobs and endpoints when the cloud stops, cleanly or not."""

from __future__ import annotations

import io
import signal
import tarfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from tests.local.workloads.conftest import until, wait


def start_everything(place: Any) -> None:
    """An endpoint `steady`, a processing job `long`, both with a child process that left their group."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("name.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"m"))
    url = place.put("m.tar.gz", buffer.getvalue())
    sagemaker = place.sagemaker
    sagemaker.create_model(
        ModelName="m",
        ExecutionRoleArn=place.role,
        PrimaryContainer={"Image": place.image, "ModelDataUrl": url},
    )
    variant = {
        "VariantName": "v",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="steady", EndpointConfigName="c")
    escape = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "time.sleep(3600)"
    )
    code = place.put("main.py", escape)
    sagemaker.create_processing_job(
        ProcessingJobName="long",
        RoleArn=place.role,
        AppSpecification={
            "ImageUri": place.image,
            "ContainerEntrypoint": ["python", "/opt/ml/processing/code/main.py"],
        },
        ProcessingInputs=[
            {
                "InputName": "code",
                "S3Input": {
                    "S3Uri": code,
                    "LocalPath": "/opt/ml/processing/code",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    )
    in_service(place)
    until(lambda: "sleep" in [named(process) for process in containers(place.cloud.folder.root)])


def named(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def in_service(place: Any) -> None:
    def reached() -> bool:
        answer = place.sagemaker.describe_endpoint(EndpointName="steady")
        assert answer["EndpointStatus"] in ("Creating", "SystemUpdating", "InService"), answer
        return bool(answer["EndpointStatus"] == "InService")

    until(reached)


def containers(root: Path) -> list[psutil.Process]:
    """Processes of containers of the cloud on that folder."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get("MODELYARD_CONTAINER", "")
        except psutil.Error:
            continue
        if mark.startswith(str(root)):
            found.append(process)
    return found


def test_a_clean_stop_and_a_start(tmp_path: Path, make_workplace: Any) -> None:
    root, context = tmp_path / "state", tmp_path / "image"
    context.mkdir()
    lifecycle.up(root)
    try:
        place = make_workplace(*connect(root), context)
        start_everything(place)
        assert lifecycle.down(root) == {"was_running": True, "ended": 0, "state_kept": True}
        assert containers(root) == []
        lifecycle.up(root)
        job = place.sagemaker.describe_processing_job(ProcessingJobName="long")
        assert job["ProcessingJobStatus"] == "Failed"
        assert "the local cloud was stopped while the job ran" in job["FailureReason"]
        in_service(place)
        answer = place.runtime.invoke_endpoint(EndpointName="steady", Body=b"1")
        assert answer["Body"].read() == b"m:1"
    finally:
        lifecycle.down(root)
    assert containers(root) == []


def test_a_killed_cloud_leaves_nothing_after_the_next_start(tmp_path: Path, make_workplace: Any) -> None:
    root, context = tmp_path / "state", tmp_path / "image"
    context.mkdir()
    server = lifecycle.up(root)
    try:
        place = make_workplace(*connect(root), context)
        start_everything(place)
        process = psutil.Process(server["pid"])
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs([process], timeout=60)
        assert lifecycle.up(root)["state_discarded"]
        assert containers(root) == []
        with pytest.raises(ClientError, match="Could not find endpoint"):
            connect(root)[0].client("sagemaker", connect(root)[1]).describe_endpoint(EndpointName="steady")
    finally:
        lifecycle.down(root)


def test_an_update_that_the_stop_cuts_off_ends_with_what_served_before(
    make_workplace: Any, make_deployer: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    lifecycle.up(state)
    try:
        (tmp_path / "context").mkdir()
        bench = make_deployer(make_workplace(*connect(state), tmp_path / "context"))
        endpoint = bench.up(bench.single("old"))
        before = bench.describe(endpoint)["EndpointConfigName"]
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 3600}
        bench.workplace.sagemaker.update_endpoint(
            EndpointName=endpoint,
            EndpointConfigName=bench.config(bench.variant("AllTraffic", bench.single("new"))),
            DeploymentConfig={"BlueGreenUpdatePolicy": policy},
        )
        until(lambda: bench.ask(endpoint, b"1") == "new:1")
        lifecycle.down(state)
        lifecycle.up(state)
        cloud, admin = connect(state)
        sagemaker = cloud.client("sagemaker", admin)
        answer = wait(lambda: sagemaker.describe_endpoint(EndpointName=endpoint), "EndpointStatus")
        assert answer["EndpointStatus"] == "InService"
        assert answer["EndpointConfigName"] == before
        assert "PendingDeploymentSummary" not in answer
        runtime = cloud.client("sagemaker-runtime", admin)
        assert runtime.invoke_endpoint(EndpointName=endpoint, Body=b"1")["Body"].read() == b"old:1"
    finally:
        lifecycle.down(state)
