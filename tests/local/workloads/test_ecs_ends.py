"""What is left of tasks when the cloud stops, is killed, and starts again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil

from localcloud import lifecycle, processes
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials
from tests.local.support import Statements
from tests.local.workloads.ecs_yard import SUBNETS, WAIT, Yard, wait_for
from tests.local.workloads.test_ecs_services import steady
from tests.local.workloads.test_ecs_tasks import processes_of

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT
DETACHED = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


def yard_of(cloud: Cloud, admin: Credentials, folder: Path) -> Yard:
    folder.mkdir()

    def role(service: str, statements: Statements) -> str:
        iam, name = cloud.client("iam", admin), f"role-{os.urandom(4).hex()}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=policy)
        return arn

    return Yard(cloud, admin, role, folder)


def service(yard: Yard, count: int) -> str:
    yard.ecs.create_service(
        cluster=yard.name,
        serviceName="kept",
        taskDefinition=yard.definition(yard.container(DETACHED + STUBBORN)),
        desiredCount=count,
        launchType="FARGATE",
        networkConfiguration=SUBNETS,
    )
    return "kept"


def test_a_clean_stop_ends_tasks_and_the_next_start_brings_services_back(tmp_path: Path) -> None:
    root = tmp_path / "state"
    lifecycle.up(root)
    try:
        yard = yard_of(*connect(root), tmp_path / "image")
        name = service(yard, 2)
        alone = yard.run(yard.definition(yard.container(WAIT)))[0]
        yard.reached(alone, "RUNNING")
        before = steady(yard, name, 2)
        assert all(processes_of(arn) for arn in [*before, alone])
        assert lifecycle.down(root) == {"was_running": True, "ended": 0, "state_kept": True}
        assert not any(processes_of(arn) for arn in [*before, alone])
        lifecycle.up(root)
        cloud, admin = connect(root)
        yard.ecs = cloud.client("ecs", admin)
        after = steady(yard, name, 2)
        assert not set(after) & set(before)
        task = yard.task(alone)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "TerminationNotice")
        assert "stopped while the task ran" in task["stoppedReason"]
    finally:
        lifecycle.down(root)


def test_a_killed_cloud_leaves_no_process(tmp_path: Path) -> None:
    root = tmp_path / "state"
    record = lifecycle.up(root)
    try:
        yard = yard_of(*connect(root), tmp_path / "image")
        tasks = steady(yard, service(yard, 2), 2)
        run = json.loads((root / "run.json").read_text())["run_id"]
        assert processes.of_run(run)
        server = psutil.Process(record["pid"])
        server.send_signal(signal.SIGKILL)
        psutil.wait_procs([server], timeout=60)
        again = lifecycle.up(root)
        assert again["state_discarded"]
        wait_for(lambda: not any(processes_of(arn) for arn in tasks), "the end of every process")
        cloud, admin = connect(root)
        ecs: Any = cloud.client("ecs", admin)
        assert ecs.list_clusters()["clusterArns"] == []
        assert list((root / "containers" / "tasks").glob("*")) == []
    finally:
        lifecycle.down(root)


def test_the_number_of_local_hosts_is_the_users(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MODELYARD_ECS_HOSTS", "1")
    root = tmp_path / "state"
    lifecycle.up(root)
    try:
        cloud, admin = connect(root)
        ecs, groups = cloud.client("ecs", admin), cloud.client("autoscaling", admin)
        groups.create_auto_scaling_group(
            AutoScalingGroupName="g", MinSize=3, MaxSize=3, AvailabilityZones=["us-east-1a"]
        )
        arn = groups.describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupARN"]
        ecs.create_capacity_provider(name="p", autoScalingGroupProvider={"autoScalingGroupArn": arn})
        ecs.create_cluster(clusterName="c", capacityProviders=["p"])
        assert len(ecs.list_container_instances(cluster="c")["containerInstanceArns"]) == 1
    finally:
        lifecycle.down(root)
