"""The state machine that starts, watches and ends a host, run by a Step Functions with EC2 and SSM as told.

Hosts run on the local cloud too (`training/test_2_instance.py`). What cannot be had from them at will, or
takes hours, is written down here, in the form of AWS's Step Functions Local; the definition is the driver's
own, and its pauses are skipped.
https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from modelyard.training.instance_driver import definition

NAME, ROLE = "driver", "arn:aws:iam::000000000000:role/driver"
JOB = {
    "job": "dogs-1",
    "attempt": 1,
    "dataset": "s3://bucket/datasets/dogs/manifests/1.json",
    "checkpoints": "s3://bucket/training-jobs/dogs-1/checkpoints/",
    "output": "s3://bucket/training-jobs/dogs-1/output/",
    "hyperparameters": {"epochs": 2},
}
MINUTES = 2  # four looks, thirty seconds apart


def told(*answers: dict[str, Any]) -> dict[str, Any]:
    """One answer at each visit of a state, the last one for good; an error is one at all tries of a visit."""
    last = len(answers) - 1
    return {f"{place}-999" if place == last else str(place): answer for place, answer in enumerate(answers)}


def returns(**answer: Any) -> dict[str, Any]:
    return {"Return": answer}


def throws(error: str) -> dict[str, Any]:
    return {"Throw": {"Error": error, "Cause": "as told"}}


def command(status: str, code: int = -1) -> dict[str, Any]:
    """-1: it has not ended. https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html"""
    return returns(Status=status, ResponseCode=code)


def host(state: str) -> dict[str, Any]:
    return returns(Reservations=[{"Instances": [{"State": {"Name": state}}]}])


STARTED = returns(Instances=[{"InstanceId": "i-1"}])
SENT = returns(Command={"CommandId": "c-1"})
UNKNOWN = throws("Ssm.InvalidInstanceIdException")
# What each state is answered, where that is not the usual; the end of the execution, its error, and whether
# the host was ended.
USUAL = {
    "Start": told(STARTED),
    "Send": told(SENT),
    "Look": told(command("InProgress"), command("Success", 0)),
    "LookAtHost": told(host("running")),
    "End": told(returns()),
}
CASES: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "Completes": ({}, "SUCCEEDED", None, True),
    "NoCapacity": (
        {"Start": told(throws("Ec2.InsufficientInstanceCapacity"))},
        "FAILED",
        "Ec2.InsufficientInstanceCapacity",
        False,
    ),
    "HostNeverComes": ({"Send": told(UNKNOWN)}, "FAILED", "HostEnded", True),
    # SSM had the host's word once, and then found nobody.
    "CommandIsNotTaken": (
        {"Look": told(command("Pending"), command("Failed"))},
        "FAILED",
        "HostEnded",
        True,
    ),
    "CommandIsOutOfTime": (
        {"Look": told(command("InProgress"), command("TimedOut", 137))},
        "FAILED",
        "HostEnded",
        True,
    ),
    "RendezvousIsGone": (
        {"Look": told(command("InProgress"), command("Failed", 75))},
        "FAILED",
        "HostEnded",
        True,
    ),
    # For good: the next host would fare no better.
    "CommandIsRefused": ({"Send": told(throws("Ssm.SsmException"))}, "FAILED", "CommandRefused", True),
    "CommandFails": ({"Look": told(command("Pending"), command("Failed", 1))}, "FAILED", "JobFailed", True),
    # The trainer has left in order, and the host runs on for a minute.
    "SpotTakesIt": (
        {"Look": told(command("InProgress"), command("Failed", 143))},
        "FAILED",
        "HostEnded",
        True,
    ),
    "SpotHasTakenIt": (
        {"Look": told(command("InProgress")), "LookAtHost": told(host("running"), host("shutting-down"))},
        "FAILED",
        "HostEnded",
        True,
    ),
    "TimeIsUp": ({"Look": told(command("InProgress"))}, "FAILED", "HostEnded", True),
    "SsmIsGone": (
        {"Look": told(command("InProgress"), throws("Ssm.InternalServerError"))},
        "FAILED",
        "HostEnded",
        True,
    ),
}

# How often what fails is tried: hosts may come late, SSM hears of a host when it has booted, and a gap in the
# service's answers is none.
TRIES = {"NoCapacity": 6, "HostNeverComes": 46, "SsmIsGone": 9, "CommandIsRefused": 4}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a Step Functions without anything else, with the state machine in it."""
    folder = tmp_path_factory.mktemp("steps")
    responses, cases = {}, {}
    for name, (special, *_) in CASES.items():
        cases[name] = {state: f"{name}{state}" for state in USUAL}
        responses |= {f"{name}{state}": special.get(state, usual) for state, usual in USUAL.items()}
    mocks = folder / "mocks.json"
    mocks.write_text(
        json.dumps({"StateMachines": {NAME: {"TestCases": cases}}, "MockedResponses": responses})
    )
    port = _free_port()
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SFN_MOCK_CONFIG": str(mocks),
        "SFN_WAIT_SCALE": "0",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=surroundings,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        client = boto3.client(
            "stepfunctions",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        _make(client, folder / "log")
        yield client
    finally:
        process.terminate()
        process.wait(120)


def _free_port() -> int:
    """Below those that the system gives to clients, one of which may take it before the server does."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("none of a hundred ports is free")


def _make(client: Any, log: Path) -> None:
    machine = definition(
        template_id="lt-1", template_version="3", document_name="train", limit_minutes=MINUTES
    )
    deadline = time.monotonic() + 240
    while True:
        try:
            client.create_state_machine(name=NAME, roleArn=ROLE, definition=json.dumps(machine))
        except EndpointConnectionError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return


@pytest.mark.parametrize("case", CASES)
def test_however_it_goes_the_host_is_ended(steps: Any, case: str) -> None:
    _, status, error, ended = CASES[case]
    machine = f"arn:aws:states:us-east-1:000000000000:stateMachine:{NAME}#{case}"
    arn = steps.start_execution(stateMachineArn=machine, input=json.dumps(JOB))["executionArn"]
    deadline = time.monotonic() + 240
    while (execution := steps.describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert time.monotonic() < deadline, execution
        time.sleep(0.05)
    pages = steps.get_paginator("get_execution_history").paginate(executionArn=arn)
    events = [event for page in pages for event in page["events"]]
    entered = [
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    ]
    assert (execution["status"], execution.get("error")) == (status, error), entered
    assert ("End" in entered) == ended
    if ended and case in TRIES:
        assert execution["cause"] == "as told"
    failures = sum(event["type"] == "TaskFailed" for event in events)
    assert failures == TRIES.get(case, 0)
    if case == "TimeIsUp":
        assert entered.count("Look") == MINUTES * 60 // 30
