"""The ports of training jobs, as they call AWS and read its answers."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from training_runtime.attempt import Attempt, Step, from_document
from training_runtime.attempts import Cause
from training_runtime.aws_executions import StepFunctions
from training_runtime.aws_hosts import NO_RENDEZVOUS, EcsHosts
from training_runtime.aws_metrics import Log
from training_runtime.errors import RefusedError
from training_runtime.job import State, submit
from training_runtime.job_request import parse
from training_runtime.ports import Notice, Phase

from localcloud.aws.differences.embedded_metrics import parse as embedded
from tests.unit.training_jobs_world import SETTINGS


def error(code: str, operation: str = "RunTask") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} said"}}, operation)


class Ecs:
    """A cluster that writes down what it is asked."""

    def __init__(self) -> None:
        self.ran: list[dict[str, Any]] = []
        self.stopped: list[tuple[str, str]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.listed: list[dict[str, Any]] = []
        self.raises: ClientError | None = None
        self.failures: list[dict[str, str]] = []
        self.ended: list[str] = []
        self.refuses: dict[str, str] = {}
        self.states: dict[str, str] = {}

    def run_task(self, **request: Any) -> dict[str, Any]:
        if self.raises:
            raise self.raises
        self.ran.append(request)
        arns = [f"task-{len(self.ran)}-{number}" for number in range(request["count"])]
        return {"tasks": [{"taskArn": arn} for arn in arns], "failures": self.failures}

    def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert 1 <= len(tasks) <= 100
        return {"tasks": [self.tasks[arn] for arn in tasks if arn in self.tasks], "failures": []}

    def stop_task(self, cluster: str, task: str, reason: str) -> None:
        self.stopped.append((task, reason))

    def describe_container_instances(self, cluster: str, containerInstances: list[str]) -> dict[str, Any]:
        known = [arn for arn in containerInstances if arn != "forgotten"]
        return {
            "containerInstances": [
                {"containerInstanceArn": arn, "ec2InstanceId": f"i-{arn}"} for arn in known
            ]
        }

    def terminate_instances(self, InstanceIds: list[str]) -> None:
        self.ended += InstanceIds
        if InstanceIds[0] in self.refuses:
            raise error(self.refuses[InstanceIds[0]], "TerminateInstances")

    def describe_instances(self, InstanceIds: list[str]) -> dict[str, Any]:
        (name,) = InstanceIds
        if name not in self.states:
            raise error("InvalidInstanceID.NotFound", "DescribeInstances")
        state = self.states[name]
        return {"Reservations": [{"Instances": [{"State": {"Name": state}}]}] if state else []}

    def deregister_container_instance(self, cluster: str, containerInstance: str, force: bool) -> None:
        assert force
        self.ended.append(containerInstance)
        if containerInstance in self.refuses:
            raise error(self.refuses[containerInstance], "DeregisterContainerInstance")

    def get_paginator(self, operation: str) -> Any:
        ecs = self

        class Pages:
            def paginate(self, **request: Any) -> list[dict[str, Any]]:
                ecs.listed.append({"operation": operation, **request})
                if "startedBy" in request and request.keys() != {"cluster", "startedBy"}:
                    raise error("InvalidParameterException", "ListTasks")
                if operation == "list_container_instances":
                    return [{"containerInstanceArns": ["host-1"]}]
                wanted = request.get("desiredStatus", "RUNNING")
                arns = [
                    arn
                    for arn, task in ecs.tasks.items()
                    if task["desiredStatus"] == wanted
                    and request.get("startedBy") in (None, task.get("startedBy"))
                ]
                return [{"taskArns": arns[:1]}, {"taskArns": arns[1:]}]

        return Pages()


def task(arn: str, last: str, desired: str = "RUNNING", **members: Any) -> dict[str, Any]:
    return {"taskArn": arn, "lastStatus": last, "desiredStatus": desired, **members}


@pytest.fixture
def ecs() -> Ecs:
    return Ecs()


@pytest.fixture
def hosts(ecs: Ecs) -> EcsHosts:
    return EcsHosts(ecs, SETTINGS, lambda: ecs)


def test_a_large_gang_is_started_in_calls_of_ten(ecs: Ecs, hosts: EcsHosts) -> None:
    started = hosts.run("dogs-1/2", 23, {"ATTEMPT": "2"}, provider=0, token="first")
    assert len(set(started.tasks)) == 23
    assert [request["count"] for request in ecs.ran] == [10, 10, 3]
    assert len({request["clientToken"] for request in ecs.ran}) == 3
    request = ecs.ran[0]
    assert request["startedBy"] == "dogs-1/2"
    assert request["capacityProviderStrategy"] == [{"capacityProvider": "spot", "weight": 1}]
    assert request["placementConstraints"] == [{"type": "distinctInstance"}]
    assert request["overrides"]["containerOverrides"] == [
        {"name": "trainer", "environment": [{"name": "ATTEMPT", "value": "2"}]}
    ]
    hosts.run("dogs-1/2", 23, {"ATTEMPT": "2"}, provider=3, token="first")
    assert [one["clientToken"] for one in ecs.ran[:3]] == [one["clientToken"] for one in ecs.ran[3:]]
    assert ecs.ran[3]["capacityProviderStrategy"][0]["capacityProvider"] == "on-demand"


def test_what_is_not_started_is_told(ecs: Ecs, hosts: EcsHosts) -> None:
    ecs.failures = [{"reason": "RESOURCE:GPU", "detail": "host 7"}]
    started = hosts.run("dogs-1/1", 12, {}, provider=0, token="first")
    assert (len(started.tasks), started.failures) == (10, ("RESOURCE:GPU host 7",))


def test_what_is_wrong_for_good_is_told_from_what_may_pass(ecs: Ecs, hosts: EcsHosts) -> None:
    ecs.raises = error("InvalidParameterException")
    with pytest.raises(RefusedError, match="ECS refuses to start the hosts: InvalidParameterException said"):
        hosts.run("dogs-1/1", 1, {}, provider=0, token="first")
    ecs.raises = error("ServerException")
    with pytest.raises(ClientError):
        hosts.run("dogs-1/1", 1, {}, provider=0, token="first")


@pytest.mark.parametrize(
    ("described", "phase", "cause", "done", "words"),
    [
        (task("t", "PROVISIONING"), Phase.COMING, None, False, ""),
        (task("t", "STOPPING", "STOPPED"), Phase.COMING, None, False, ""),
        (task("t", "RUNNING", startedAt=1), Phase.RUNNING, None, False, ""),
        (task("t", "DEACTIVATING", "STOPPED", startedAt=1), Phase.RUNNING, None, False, ""),
        (
            task(
                "t",
                "STOPPED",
                "STOPPED",
                stopCode="EssentialContainerExited",
                stoppedReason="Essential container in task exited",
                containers=[{"exitCode": 137, "reason": "OutOfMemoryError: killed"}],
            ),
            Phase.ENDED,
            Cause.FAILED,
            False,
            "Essential container in task exited; exit code 137; OutOfMemoryError: killed",
        ),
        (
            task(
                "t", "STOPPED", stopCode="EssentialContainerExited", containers=[{"exitCode": NO_RENDEZVOUS}]
            ),
            Phase.ENDED,
            Cause.INTERRUPTED,  # by a rendezvous that is gone, which is no failure of the program
            False,
            "EssentialContainerExited; exit code 75",
        ),
        (
            task("t", "STOPPED", stopCode="EssentialContainerExited", containers=[{"exitCode": 0}]),
            Phase.ENDED,
            Cause.FAILED,
            True,
            "EssentialContainerExited",
        ),
        (
            task("t", "STOPPED", stopCode="TaskFailedToStart", stoppedReason="CannotPullContainerError"),
            Phase.ENDED,
            Cause.FAILED,
            False,
            "CannotPullContainerError",
        ),
        (
            task("t", "STOPPED", stopCode="SpotInterruption", containers=[{"exitCode": 1}]),
            Phase.ENDED,
            Cause.INTERRUPTED,
            False,
            "SpotInterruption; exit code 1",
        ),
        (task("t", "STOPPED", containers=[{}]), Phase.ENDED, Cause.INTERRUPTED, False, "stopped"),
    ],
)
def test_where_a_task_is(
    ecs: Ecs, hosts: EcsHosts, described: Any, phase: Phase, cause: Cause | None, done: bool, words: str
) -> None:
    ecs.tasks["t"] = described
    (seen,) = hosts.look(["t"])
    assert (seen.phase, seen.done, seen.reason) == (phase, done, words)
    assert cause is None or seen.cause is cause


def test_a_task_that_ecs_has_forgotten_has_ended(hosts: EcsHosts) -> None:
    (seen,) = hosts.look(["t"])
    assert (seen.phase, seen.cause, seen.done) == (Phase.ENDED, Cause.INTERRUPTED, False)
    assert hosts.look([]) == ()


def test_stop_finds_all_tasks_and_counts_those_that_have_not_ended(ecs: Ecs, hosts: EcsHosts) -> None:
    mine = {"startedBy": "dogs-1/1"}
    ecs.tasks = {
        "running": task("running", "RUNNING", **mine),
        "coming": task("coming", "PENDING", **mine),
        "ends": task("ends", "DEPROVISIONING", "STOPPED", **mine),
        "ended": task("ended", "STOPPED", "STOPPED", **mine),
        "another's": task("another's", "RUNNING", startedBy="cats/1"),
        "another's, ends": task("another's, ends", "STOPPING", "STOPPED", startedBy="cats/1"),
    }
    assert hosts.stop("dogs-1/1", ["running", "forgotten"], "x" * 300) == ("coming", "ends", "running")
    assert ecs.stopped == [("coming", "x" * 255), ("running", "x" * 255)]
    hosts.let_go(["ends"], "it did not come")
    assert ecs.stopped[2:] == [("ends", "it did not come")]
    ecs.tasks = {}
    assert hosts.stop("dogs-1/1", [], "done") == ()


def test_a_host_that_obeys_no_more_is_ended_and_then_forgotten(ecs: Ecs, hosts: EcsHosts) -> None:
    """In this order: what is deregistered could not be traced to its instance any more."""
    ecs.tasks = {
        "a": task("a", "RUNNING", containerInstanceArn="one"),
        "b": task("b", "RUNNING", containerInstanceArn="two"),
        "gone": task("gone", "RUNNING", containerInstanceArn="forgotten"),
        "fargate": task("fargate", "RUNNING"),
    }
    ecs.refuses = {"i-two": "InvalidInstanceID.NotFound", "two": "InvalidParameterException"}
    assert set(hosts.evict(["a", "b", "gone", "fargate", "unknown"])) == {"a", "b", "gone"}
    assert ecs.ended == ["i-one", "one", "i-two", "two"]
    ecs.refuses = {"i-one": "RequestLimitExceeded"}
    with pytest.raises(ClientError):
        hosts.evict(["a"])
    assert hosts.evict([]) == ()


def test_a_host_that_may_not_be_ended_is_neither_forgotten_nor_gone(ecs: Ecs, hosts: EcsHosts) -> None:
    """It trains on: deregistered, nobody would find it, and its slots would be another job's."""
    ecs.tasks = {
        "a": task("a", "RUNNING", containerInstanceArn="one"),
        "b": task("b", "RUNNING", containerInstanceArn="two"),
    }
    ecs.refuses, ecs.states = {"i-two": "UnauthorizedOperation"}, {"i-two": "running"}
    assert hosts.evict(["a", "b"]) == ("a",)
    assert ecs.ended == ["i-one", "one", "i-two"]


@pytest.mark.parametrize("states", [{"i-one": "terminated"}, {"i-one": "shutting-down"}, {"i-one": ""}, {}])
def test_a_host_that_is_gone_is_forgotten_though_it_may_not_be_ended(
    ecs: Ecs, hosts: EcsHosts, states: dict[str, str]
) -> None:
    """Spot or its group took it, and with it the tag that gives the right."""
    ecs.tasks = {"a": task("a", "RUNNING", containerInstanceArn="one")}
    ecs.refuses, ecs.states = {"i-one": "UnauthorizedOperation"}, states
    assert hosts.evict(["a"]) == ("a",)
    assert ecs.ended == ["i-one", "one"]


def test_a_look_that_fails_is_tried_again(ecs: Ecs, hosts: EcsHosts) -> None:
    ecs.tasks = {"a": task("a", "RUNNING", containerInstanceArn="one")}
    ecs.refuses = {"i-one": "UnauthorizedOperation"}

    def fails(InstanceIds: list[str]) -> None:
        raise error("RequestLimitExceeded", "DescribeInstances")

    ecs.describe_instances = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        hosts.evict(["a"])


def test_a_host_that_is_not_heard_is_told_from_one_that_is(ecs: Ecs, hosts: EcsHosts) -> None:
    ecs.tasks = {
        "heard": task("heard", "RUNNING", startedAt=1, connectivity="CONNECTED"),
        "new": task("new", "PENDING"),
        "silent": task("silent", "RUNNING", startedAt=1, connectivity="DISCONNECTED"),
    }
    assert [one.connected for one in hosts.look(ecs.tasks)] == [True, True, False]


def test_a_spot_warning_stops_the_tasks_of_the_trainer_on_that_instance(ecs: Ecs, hosts: EcsHosts) -> None:
    ecs.tasks = {"a": task("a", "RUNNING"), "b": task("b", "RUNNING")}
    assert hosts.drain("i-07", "Spot") == 2
    assert ecs.listed[0]["filter"] == "ec2InstanceId == 'i-07'"
    assert (ecs.listed[1]["containerInstance"], ecs.listed[1]["family"]) == ("host-1", "trainer")
    assert ecs.stopped == [("a", "Spot"), ("b", "Spot")]


class Machines:
    def __init__(self, statuses: dict[str, str]) -> None:
        self.statuses = statuses
        self.started: list[dict[str, Any]] = []

    def start_execution(self, **request: Any) -> None:
        if request["name"] in self.statuses:
            raise error("ExecutionAlreadyExists", "StartExecution")
        self.started.append(request)

    def describe_execution(self, executionArn: str) -> dict[str, str]:
        place, _, name = executionArn.rpartition(":")
        assert place == "arn:aws:states:eu-west-1:111122223333:execution:training"
        if name not in self.statuses:
            raise error("ExecutionDoesNotExist", "DescribeExecution")
        return {"status": self.statuses[name]}


def test_an_execution_is_started_once() -> None:
    client = Machines({})
    machines = StepFunctions(client, SETTINGS.state_machine_arn)
    at = Attempt(job="dogs-1", number=2)
    machines.start(at)
    (request,) = client.started
    assert request["name"] == "dogs-1_2"
    assert from_document(json.loads(request["input"])) == at
    client.statuses["dogs-1_2"] = "SUCCEEDED"
    machines.start(at)
    assert client.started == [request]


def test_the_status_is_that_of_the_last_part() -> None:
    statuses = {"dogs-1_2": "SUCCEEDED", "dogs-1_2_2": "SUCCEEDED", "dogs-1_2_3": "RUNNING"}
    machines = StepFunctions(Machines(statuses), SETTINGS.state_machine_arn)
    assert machines.status(Attempt(job="dogs-1", number=2)) == "RUNNING"
    assert machines.status(Attempt(job="dogs-1", number=1)) is None


def test_an_end_is_a_metric_of_the_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    job = submit(parse('{"job": "dogs-1", "data": "s3://bucket/manifest.json"}'), now=1.0)
    Log(SETTINGS).ended(replace(job, state=State.FAILED, attempt=3, reason="the budget of 2 is spent"))
    text = capsys.readouterr().out
    (datum,) = embedded(text, time.time())
    assert (datum.namespace, datum.name, datum.values) == ("Modelyard/Training", "JobsFailed", [1])
    assert datum.dimensions == {"Cluster": "training"}
    told = {"event": "job ended", "job": "dogs-1", "attempt": 3, "reason": "the budget of 2 is spent"}
    assert told.items() <= json.loads(text).items()


def test_what_may_need_somebody_is_a_metric_too(capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        Notice.UNPLACED: "AttemptsUnplaced",
        Notice.STALLED: "AttemptsStalled",
        Notice.EVICTED: "HostsEvicted",
    }
    for what, name in names.items():
        Log(SETTINGS).noticed(what, "dogs-1/2", 3, "no hosts")
        text = capsys.readouterr().out
        (datum,) = embedded(text, time.time())
        assert (datum.name, datum.values, datum.dimensions) == (name, [3], {"Cluster": "training"})
        told = {"event": what.value, "attempt": "dogs-1/2", "reason": "no hosts"}
        assert told.items() <= json.loads(text).items()


def test_a_state_that_failed_is_the_reason_of_the_end() -> None:
    document = {**Attempt(job="a", number=1).to_document(), "error": {"Error": "Lambda.X", "Cause": "why"}}
    at = from_document(json.loads(json.dumps(document)))
    assert (at.next, at.cause) == (Step.STOP, Cause.INTERRUPTED)
    assert at.reason == "the attempt's control failed: Lambda.X: why"
    ends = from_document({**document, "cause": "finished", "reason": "finished"})
    assert (ends.cause, ends.reason) == ("finished", "finished")
