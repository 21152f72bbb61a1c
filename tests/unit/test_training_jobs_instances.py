"""Single hosts of training jobs: what is asked of Step Functions and EC2, and how their answers are read."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from training_runtime.attempts import Cause
from training_runtime.aws_instances import DriverHosts, EitherHosts
from training_runtime.job_request import parse
from training_runtime.launching import environment
from training_runtime.ports import Phase

from tests.unit.training_jobs_world import SETTINGS, Fleet

DRIVER = "arn:aws:states:eu-west-1:111122223333:stateMachine:driver"
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:driver:dogs-1_2"
REQUEST = parse(
    '{"job": "dogs-1", "data": "s3://bucket/m.json", "instance": true, "settings": {"epochs": 2}}'
)


class Steps:
    """Executions by ARN, and what was asked for."""

    def __init__(self, **execution: Any) -> None:
        self.executions = {EXECUTION: {"status": "RUNNING", **execution}} if execution else {}
        self.started: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.instance, self.sent, self.late = "i-1", True, ""

    def start_execution(self, **request: Any) -> None:
        if any(one["name"] == request["name"] for one in self.started):
            raise ClientError({"Error": {"Code": "ExecutionAlreadyExists"}}, "StartExecution")
        self.started.append(request)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return self.executions[executionArn]

    def get_execution_history(self, executionArn: str, maxResults: int) -> dict[str, Any]:
        told = {}
        if self.instance:
            told["runInstances"] = {"Instances": [{"InstanceId": self.instance}]}
            if self.sent:
                told["sendCommand"] = {"Command": {"CommandId": "c-1"}}
        events = [
            {"taskSucceededEventDetails": {"resource": name, "output": json.dumps(answer)}}
            for name, answer in told.items()
        ]
        return {"events": [{"type": "ExecutionStarted"}, *events]}

    def stop_execution(self, executionArn: str, error: str, cause: str) -> None:
        self.stopped.append(executionArn)
        self.instance = self.instance or self.late
        self.executions[executionArn] |= {"status": "ABORTED", "stopDate": datetime.now(UTC)}

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        return [{"executions": [{"name": "dogs-1_2"}, {"name": "by-hand"}]}]


class Ec2:
    """Makes a client as well; `refusals` are for the first calls."""

    def __init__(self, *refusals: str, state: str = "") -> None:
        self.ended: list[str] = []
        self.refusals, self.state = list(refusals), state

    def __call__(self) -> Ec2:
        return self

    def terminate_instances(self, InstanceIds: list[str]) -> None:
        if self.refusals:
            raise ClientError({"Error": {"Code": self.refusals.pop(0)}}, "TerminateInstances")
        self.ended += InstanceIds

    def describe_instances(self, InstanceIds: list[str]) -> dict[str, Any]:
        if not self.state:
            raise ClientError({"Error": {"Code": "InvalidInstanceID.NotFound"}}, "DescribeInstances")
        return {"Reservations": [{"Instances": [{"State": {"Name": self.state}}]}]}


def test_the_driver_is_told_what_the_trainer_wants_to_know_once() -> None:
    steps = Steps()
    hosts = DriverHosts(steps, Ec2(), DRIVER)
    told = environment(REQUEST, 2, SETTINGS, paid=90.0)
    for _ in range(2):
        assert hosts.run("dogs-1/2", 1, told, provider=0, token="first").tasks == (EXECUTION,)
    (started,) = steps.started
    given = json.loads(started["input"])
    assert (given["job"], given["attempt"], given["hyperparameters"]) == ("dogs-1", 2, {"epochs": 2})
    lines = base64.b64decode(given["variables"]).decode().splitlines()
    # By the name of the cluster its telemetry is found: on the dashboard, and by the alarms.
    assert lines == [
        "JOB_TABLE=jobs",
        "PAID_NODE_SECONDS=90",
        "PRICE_PER_HOST_HOUR=0.0",
        "TRAINING_CLUSTER=training",
    ]


@pytest.mark.parametrize(
    ("execution", "instance", "phase", "cause", "done"),
    [
        ({"status": "RUNNING"}, "", Phase.COMING, Cause.INTERRUPTED, False),
        ({"status": "RUNNING"}, "i-1", Phase.RUNNING, Cause.INTERRUPTED, False),
        ({"status": "SUCCEEDED"}, "i-1", Phase.ENDED, Cause.INTERRUPTED, True),
        ({"status": "FAILED", "error": "HostEnded"}, "i-1", Phase.ENDED, Cause.INTERRUPTED, False),
        ({"status": "FAILED", "error": "JobFailed"}, "i-1", Phase.ENDED, Cause.FAILED, False),
        ({"status": "FAILED", "error": "CommandRefused"}, "i-1", Phase.ENDED, Cause.FAILED, False),
        ({"status": "FAILED", "error": "Ec2.Ec2Exception"}, "", Phase.ENDED, Cause.INTERRUPTED, False),
        ({"status": "ABORTED"}, "i-1", Phase.ENDED, Cause.INTERRUPTED, False),
        ({}, "", Phase.ENDED, Cause.INTERRUPTED, False),
    ],
)
def test_where_a_host_is(
    execution: dict[str, str], instance: str, phase: Phase, cause: Cause, done: bool
) -> None:
    steps = Steps(**execution)
    steps.instance = instance
    (task,) = DriverHosts(steps, Ec2(), DRIVER).look([EXECUTION])
    assert (task.phase, task.cause, task.done) == (phase, cause, done)


def test_a_host_is_ended_and_one_that_has_not_come_is_no_longer_waited_for() -> None:
    steps, ec2 = Steps(status="RUNNING"), Ec2()
    hosts = DriverHosts(steps, ec2, DRIVER)
    # One whose trainer is done ends by itself.
    assert hosts.stop("dogs-1/2", [EXECUTION], "finished") == (EXECUTION,)
    assert (ec2.ended, steps.stopped) == ([], [])
    # Also by whoever knows the attempt alone.
    assert hosts.stop("dogs-1/2", (), "cancelled") == (EXECUTION,)
    assert (ec2.ended, steps.stopped) == (["i-1"], [])
    steps.instance = ""
    assert hosts.stop("dogs-1/2", [EXECUTION], "cancelled") == (EXECUTION,)
    assert steps.stopped == [EXECUTION]
    steps.executions[EXECUTION]["status"] = "FAILED"
    assert hosts.stop("dogs-1/2", [EXECUTION], "cancelled") == ()
    # The driver has ended its host.
    assert hosts.evict([EXECUTION]) == (EXECUTION,)
    assert ec2.ended == ["i-1"]


def test_a_host_that_still_boots_is_ended_with_the_execution_that_waits_for_it() -> None:
    """SSM never hears of it any more, and the driver would ask for a quarter of an hour."""
    steps, ec2 = Steps(status="RUNNING"), Ec2()
    steps.sent = False
    assert DriverHosts(steps, ec2, DRIVER).stop("dogs-1/2", [EXECUTION], "cancelled") == (EXECUTION,)
    assert (ec2.ended, steps.stopped) == (["i-1"], [EXECUTION])


def test_a_host_that_comes_while_its_execution_is_stopped_is_ended_too() -> None:
    """Nobody else would end it before its own clock does."""
    for order in ("stop", "evict"):
        steps, ec2 = Steps(status="RUNNING"), Ec2()
        steps.instance, steps.late = "", "i-2"
        hosts = DriverHosts(steps, ec2, DRIVER)
        if order == "stop":
            hosts.stop("dogs-1/2", [EXECUTION], "cancelled")
        else:
            hosts.evict([EXECUTION])
        assert (ec2.ended, steps.stopped) == (["i-2"], [EXECUTION])


LATE = ["InvalidInstanceID.NotFound", "UnauthorizedOperation", "RequestLimitExceeded"]


@pytest.mark.parametrize("refusal", LATE)
@pytest.mark.parametrize("order", ["stop", "evict"])
def test_a_host_that_came_late_and_did_not_end_is_ended_by_the_next_try(order: str, refusal: str) -> None:
    """EC2 may not know yet what it has just started; its execution, stopped, does nothing more."""
    steps, ec2 = Steps(status="RUNNING"), Ec2(refusal, refusal)
    steps.instance, steps.late = "", "i-2"
    hosts = DriverHosts(steps, ec2, DRIVER)

    def tried() -> tuple[str, ...] | None:
        try:
            if order == "stop":
                return hosts.stop("dogs-1/2", [EXECUTION], "cancelled")
            return hosts.evict([EXECUTION])
        except ClientError:
            return None

    going_on = (EXECUTION,) if order == "stop" else ()
    gone = () if order == "stop" else (EXECUTION,)
    for _ in range(2):
        assert tried() in (None, going_on)
    assert ec2.ended == []
    assert tried() == gone
    assert (ec2.ended, steps.stopped) == (["i-2"], [EXECUTION])


@pytest.mark.parametrize(
    ("refusal", "state", "minutes", "gone"),
    [
        ("InvalidInstanceID.NotFound", "", 1, False),
        ("InvalidInstanceID.NotFound", "", 60, True),
        ("UnauthorizedOperation", "", 1, False),
        ("UnauthorizedOperation", "", 60, True),
        ("UnauthorizedOperation", "terminated", 1, True),
        ("UnauthorizedOperation", "running", 60, False),
    ],
)
def test_a_host_that_ec2_does_not_end_is_gone_when_it_would_be_known(
    refusal: str, state: str, minutes: int, gone: bool
) -> None:
    steps = Steps(status="ABORTED", stopDate=datetime.now(UTC) - timedelta(minutes=minutes))
    hosts = DriverHosts(steps, Ec2(refusal, refusal, state=state), DRIVER)
    assert hosts.stop("dogs-1/2", [EXECUTION], "cancelled") == (() if gone else (EXECUTION,))
    assert hosts.evict([EXECUTION]) == ((EXECUTION,) if gone else ())


def test_an_execution_stopped_by_hand_leaves_no_host() -> None:
    steps, ec2 = Steps(status="ABORTED", stopDate=datetime.now(UTC)), Ec2()
    assert DriverHosts(steps, ec2, DRIVER).stop("dogs-1/2", [EXECUTION], "interrupted") == ()
    assert (ec2.ended, steps.stopped) == (["i-1"], [])


def test_a_host_that_obeys_no_more_is_taken_away_with_its_execution() -> None:
    steps, ec2 = Steps(status="RUNNING"), Ec2()
    hosts = DriverHosts(steps, ec2, DRIVER)
    assert hosts.stop("dogs-1/2", [EXECUTION], "finished") == (EXECUTION,)
    assert hosts.evict([EXECUTION]) == (EXECUTION,)
    assert (ec2.ended, steps.stopped) == (["i-1"], [EXECUTION])


def test_a_job_has_the_one_kind_of_hosts_or_the_other() -> None:
    fleet, steps = Fleet(), Steps(status="RUNNING")
    both = EitherHosts(fleet, DriverHosts(steps, Ec2(), DRIVER))
    gang = both.run("cats/1", 2, {}, provider=0, token="first").tasks
    alone = both.run(
        "dogs-1/2", 1, environment(REQUEST, 2, SETTINGS), provider=0, token="first", alone=True
    ).tasks
    assert [task.arn for task in both.look((*alone, *gang))] == [*gang, *alone]
    assert both.attempts() >= {"cats/1", "dogs-1/2"}
    assert both.stop("cats/1", gang, "over") == tuple(gang)
    assert fleet.living() == []
