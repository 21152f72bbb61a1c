"""Tasks of ECS as real processes: what they see, how they end, what is told of them, and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, Role, allow, code_of, unique
from tests.local.workloads.ecs_yard import SUBNETS, WAIT, Yard, wait_for


@pytest.fixture(scope="module")
def yard(
    cloud: Cloud, admin: Credentials, role: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    may = allow("s3:CreateBucket", "arn:aws:s3:::allowed-*")
    made = Yard(cloud, admin, role, tmp_path_factory.mktemp("image"), may)
    yield made
    made.close()


def test_a_task_runs_as_its_role_and_leaves_its_exit_code(yard: Yard) -> None:
    code = """
import boto3, os, socket
who = boto3.client("sts").get_caller_identity()["Arn"]
print(who, os.environ["EXTRA"], os.environ["AWS_EXECUTION_ENV"])
print(socket.gethostbyname(socket.gethostname()))
boto3.client("s3").create_bucket(Bucket=os.environ["EXTRA"])
try:
    boto3.client("s3").create_bucket(Bucket="forbidden-" + os.environ["EXTRA"])
except Exception as error:
    print(error.response["Error"]["Code"])
raise SystemExit(3)
"""
    name = unique("allowed")
    override = {"name": "main", "environment": [{"name": "EXTRA", "value": name}]}
    arn = yard.run(
        yard.definition(yard.container(code)),
        overrides={"containerOverrides": [override]},
        startedBy="job-1",
        tags=[{"key": "job", "value": "1"}],
    )[0]
    task = yard.reached(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 3, task
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["createdAt"] <= task["pullStartedAt"] <= task["startedAt"] <= task["stoppedAt"]
    assert task["overrides"]["containerOverrides"] == [override]
    session, role_name = arn.rpartition("/")[2], yard.task_role.rpartition("/")[2]
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert yard.log(arn) == [
        f"arn:aws:sts::{yard.cloud.account}:assumed-role/{role_name}/{session} {name} AWS_ECS_FARGATE",
        address,
        "AccessDenied",
    ]
    family = task["taskDefinitionArn"].rpartition("/")[2].partition(":")[0]
    ended = yard.ecs.list_tasks(cluster=yard.name, family=family, desiredStatus="STOPPED")
    assert ended["taskArns"] == [arn]
    # Only those that are to run.
    assert yard.ecs.list_tasks(cluster=yard.name, startedBy="job-1")["taskArns"] == []
    described = yard.ecs.describe_tasks(cluster=yard.name, tasks=[session, "0" * 32], include=["TAGS"])
    assert described["tasks"][0]["tags"] == [{"key": "job", "value": "1"}]
    assert [failure["reason"] for failure in described["failures"]] == ["MISSING"]


def test_every_change_is_an_event(yard: Yard) -> None:
    url = yard.queue_of_events()
    arn = yard.run(yard.definition(yard.container("raise SystemExit(7)")), startedBy="told")[0]
    yard.reached(arn, "STOPPED")
    heard: list[dict[str, Any]] = []

    def ended() -> bool:
        # Another test's last event may come late.
        heard.extend(event for event in yard.events(url) if event["detail"].get("startedBy") == "told")
        return any(event["detail"]["lastStatus"] == "STOPPED" for event in heard)

    wait_for(ended, "the last event")
    heard.sort(key=lambda event: int(event["detail"]["version"]))
    assert {event["detail-type"] for event in heard} == {"ECS Task State Change"}
    assert all(event["source"] == "aws.ecs" and event["resources"] == [arn] for event in heard)
    states = list(dict.fromkeys(event["detail"]["lastStatus"] for event in heard))
    assert states == ["PROVISIONING", "PENDING", "RUNNING", "STOPPING", "DEPROVISIONING", "STOPPED"]
    last = heard[-1]["detail"]
    assert last["containers"][0]["exitCode"] == 7
    assert last["startedBy"] == "told"
    assert last["stopCode"] == "EssentialContainerExited"
    assert last["stoppedAt"].endswith("Z")
    assert last["updatedAt"] >= last["stoppedAt"]
    assert not any(name.startswith("_") for name in last)


def test_stop_sends_sigterm_to_the_first_process_alone(yard: Yard) -> None:
    code = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def end(*_):
    time.sleep(0.5)
    print("child", child.poll(), flush=True)
    child.kill()
    sys.exit(9)
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
while True:
    time.sleep(1)
"""
    arn = yard.run(yard.definition(yard.container(code)))[0]
    yard.said(arn, "here")
    answer = yard.ecs.stop_task(cluster=yard.name, task=arn, reason="enough")["task"]
    assert (answer["desiredStatus"], answer["stoppedReason"]) == ("STOPPED", "enough")
    task = yard.reached(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 9
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert "child None" in yard.log(arn)


def test_a_task_that_does_not_listen_is_killed_after_its_time(yard: Yard) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True)\n"
    container = yard.container(code + "while True: time.sleep(1)", stopTimeout=2)
    arn = yard.run(yard.definition(container))[0]
    yard.said(arn, "here")
    yard.ecs.stop_task(cluster=yard.name, task=arn)
    task = yard.reached(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 137
    # Without a stopTimeout it would have half a minute.
    assert 2 <= (task["stoppedAt"] - task["stoppingAt"]).total_seconds() < 30
    wait_for(lambda: not processes_of(arn), "the end of every process")


def processes_of(arn: str) -> list[int]:
    mark, found = arn.rpartition("/")[2][:12], []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().get("MODELYARD_CONTAINER", ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_the_end_of_an_essential_container_ends_the_others(yard: Yard) -> None:
    first = yard.container("print('prepared')", "first", essential=False)
    needs = [{"containerName": "first", "condition": "SUCCESS"}]
    main = yard.container("import time; time.sleep(1)", dependsOn=needs)
    aside = yard.container(WAIT, "aside", essential=False)
    arn = yard.run(yard.definition(aside, main, first))[0]
    task = yard.reached(arn, "STOPPED")
    codes = {container["name"]: container["exitCode"] for container in task["containers"]}
    assert codes == {"first": 0, "main": 0, "aside": 143}
    assert yard.log(arn, "first") == ["prepared"]


def test_why_a_task_does_not_start(yard: Yard, role: Role) -> None:
    plain = yard.container(WAIT)
    elsewhere = json.loads(json.dumps(plain).replace(yard.group, "/nowhere"))
    secret = {"name": "KEY", "valueFrom": "/missing/parameter"}
    stranger = role("lambda.amazonaws.com", [])
    cases = {
        yard.definition({**plain, "image": f"{yard.image}2"}): "CannotPullContainerError: the image",
        yard.definition(
            {**plain, "image": "docker.io/library/busybox"}
        ): "CannotPullContainerError: the image",
        yard.definition(elsewhere): "ResourceInitializationError: failed to validate logger args",
        yard.definition(
            {**plain, "secrets": [secret]}
        ): "ResourceInitializationError: unable to pull secrets",
        yard.definition(plain, taskRoleArn=stranger): "ECS was unable to assume the role",
        yard.definition({**plain, "command": ["x"], "entryPoint": ["nothing-of-that-name"]}): "Essential",
    }
    for definition, reason in cases.items():
        task = yard.reached(yard.run(definition)[0], "STOPPED")
        assert task["stoppedReason"].startswith(reason), task["stoppedReason"]
        if reason != "Essential":
            assert task["stopCode"] == "TaskFailedToStart"
            assert "exitCode" not in task["containers"][0]
        else:
            assert task["containers"][0]["exitCode"] == 127


def test_a_container_learns_what_it_is(yard: Yard) -> None:
    code = """
import json, os, urllib.request
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
task = json.load(urllib.request.urlopen(uri + "/task"))
own = json.load(urllib.request.urlopen(uri))
print(task["TaskARN"], task["LaunchType"], own["Networks"][0]["IPv4Addresses"][0], own["Name"])
"""
    arn = yard.run(yard.definition(yard.container(code)))[0]
    task = yard.reached(arn, "STOPPED")
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert yard.log(arn) == [f"{arn} FARGATE {address} main"]


def test_secrets_come_with_the_execution_role(yard: Yard, role: Role) -> None:
    name = unique("secret")
    secrets, ssm = yard.cloud.client("secretsmanager", yard.admin), yard.cloud.client("ssm", yard.admin)
    arn = secrets.create_secret(Name=name, SecretString=json.dumps({"key": "one"}))["ARN"]
    ssm.put_parameter(Name=f"/{name}/two", Value="two", Type="String")
    reading = allow(["secretsmanager:GetSecretValue", "ssm:GetParameter*"])
    wider = role("ecs-tasks.amazonaws.com", [reading, allow(["ecr:*", "logs:*"])])
    container = yard.container("import os; print(os.environ['ONE'], os.environ['TWO'])")
    container["secrets"] = [
        {"name": "ONE", "valueFrom": f"{arn}:key::"},
        {"name": "TWO", "valueFrom": f"/{name}/two"},
    ]
    task = yard.run(yard.definition(container, executionRoleArn=wider))[0]
    assert yard.reached(task, "STOPPED")["containers"][0]["exitCode"] == 0
    assert yard.log(task) == ["one two"]
    refused = yard.reached(yard.run(yard.definition(container))[0], "STOPPED")
    assert "AccessDenied" in refused["stoppedReason"]


def test_requests_that_aws_refuses(yard: Yard) -> None:
    definition = yard.definition(yard.container(WAIT))
    run = {"cluster": yard.name, "taskDefinition": definition, "networkConfiguration": SUBNETS}
    assert code_of(yard.ecs.run_task, **{**run, "cluster": "none"})[0] == "ClusterNotFoundException"
    assert code_of(yard.ecs.run_task, **run, count=11)[0] == "InvalidParameterException"
    assert code_of(yard.ecs.run_task, **run, launchType="EC2")[1].startswith(
        "No Container Instances were found"
    )
    both = {"launchType": "FARGATE", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}
    assert code_of(yard.ecs.run_task, **run, **both)[0] == "InvalidParameterException"
    bare = {"cluster": yard.name, "taskDefinition": definition, "launchType": "FARGATE"}
    assert "awsvpc" in code_of(yard.ecs.run_task, **bare)[1]
    other = {"containerOverrides": [{"name": "other"}]}
    assert "other" in code_of(yard.ecs.run_task, **run, launchType="FARGATE", overrides=other)[1]
    assert code_of(yard.ecs.run_task, **{**run, "taskDefinition": "none"})[0] == "ClientException"
    assert code_of(yard.ecs.stop_task, cluster=yard.name, task="0" * 32)[0] == "InvalidParameterException"
    for more in ({"desiredStatus": "STOPPED"}, {"family": "any"}, {"launchType": "FARGATE"}):
        refused = code_of(yard.ecs.list_tasks, cluster=yard.name, startedBy="job-1", **more)
        assert refused[0] == "InvalidParameterException"
        assert next(iter(more)) in refused[1]
    yard.ecs.deregister_task_definition(taskDefinition=definition)
    assert code_of(yard.ecs.run_task, **run, launchType="FARGATE") == (
        "ClientException",
        "TaskDefinition is inactive",
    )


def test_a_client_token_starts_tasks_once(yard: Yard) -> None:
    definition, token = yard.definition(yard.container("pass")), unique("token")
    first = yard.run(definition, clientToken=token, count=2)
    assert yard.run(definition, clientToken=token, count=2) == first
    request = {"cluster": yard.name, "taskDefinition": definition, "networkConfiguration": SUBNETS}
    again = code_of(yard.ecs.run_task, **request, launchType="FARGATE", clientToken=token, count=3)
    assert again[0] == "ConflictException"


def test_iam_decides_about_tasks(yard: Yard, actor: Actor) -> None:
    definition = yard.definition(yard.container(WAIT))
    cluster = f"arn:aws:ecs:{yard.cloud.region}:{yard.cloud.account}:cluster/{yard.name}"
    here = {"Condition": {"ArnEquals": {"ecs:cluster": cluster}}}
    run, roles = {**allow("ecs:RunTask", definition), **here}, [yard.task_role, yard.execution_role]
    request = {
        "cluster": yard.name,
        "taskDefinition": definition,
        "launchType": "FARGATE",
        "networkConfiguration": SUBNETS,
    }

    def client(*statements: dict[str, Any]) -> Any:
        return yard.cloud.client("ecs", actor(list(statements)))

    code, message = code_of(client().run_task, **request)
    assert code == "AccessDeniedException"
    assert f"ecs:RunTask on resource: {definition}" in message
    assert "iam:PassRole" in code_of(client(run).run_task, **request)[1]
    passing = {
        **allow("iam:PassRole", roles),
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    }
    wrong = {**allow("iam:PassRole", roles), "Condition": {"StringEquals": {"iam:PassedToService": "x"}}}
    assert "iam:PassRole" in code_of(client(run, wrong).run_task, **request)[1]
    arn = client(run, passing).run_task(**request)["tasks"][0]["taskArn"]
    assert code_of(client(run).stop_task, cluster=yard.name, task=arn)[0] == "AccessDeniedException"
    watcher = client({**allow(["ecs:StopTask", "ecs:DescribeTasks"], arn), **here})
    watcher.stop_task(cluster=yard.name, task=arn)
    assert watcher.describe_tasks(cluster=yard.name, tasks=[arn])["tasks"][0]["desiredStatus"] == "STOPPED"
    register = {"family": "x", "containerDefinitions": [{"name": "a", "image": "b", "memory": 64}]}
    registrar = client(allow("ecs:RegisterTaskDefinition"))
    denied = code_of(registrar.register_task_definition, **register, taskRoleArn=yard.task_role)
    assert "iam:PassRole" in denied[1]
    missing = f"arn:aws:iam::{yard.cloud.account}:role/none"
    assert code_of(yard.ecs.register_task_definition, **register, taskRoleArn=missing)[0] == "ClientException"
    yard.reached(arn, "STOPPED")


def test_revisions_of_a_task_definition(yard: Yard) -> None:
    family = unique("revised")
    first = yard.definition(yard.container("pass"), family=family)
    second = yard.definition(yard.container("pass"), family=family, tags=[{"key": "a", "value": "b"}])
    assert (first, second) == (f"{first[:-1]}1", f"{first[:-1]}2")
    newest = yard.ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
    assert newest["taskDefinition"]["revision"] == 2
    assert newest["tags"] == [{"key": "a", "value": "b"}]
    listed = yard.ecs.list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"]
    assert listed == [second, first]
    assert yard.ecs.list_task_definitions(familyPrefix=family, maxResults=1)["taskDefinitionArns"] == [first]
    yard.ecs.deregister_task_definition(taskDefinition=second)
    assert yard.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]["revision"] == 1
    inactive = yard.ecs.describe_task_definition(taskDefinition=f"{family}:2")["taskDefinition"]
    assert inactive["status"] == "INACTIVE"
    third = yard.definition(yard.container("pass"), family=family)
    assert third.endswith(":3")
    assert family in yard.ecs.list_task_definition_families(status="ACTIVE")["families"]
