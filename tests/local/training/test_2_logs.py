"""What the hosts of a job wrote, by `modelyard train logs`, with the rights of people's own roles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from modelyard_cli.errors import DENIED, FAILED
from tests.local.training.people import acting_as
from tests.local.training.stage import Stage
from tests.local.training.test_2_jobs import JOB

MODELYARD = Path(sys.executable).with_name("modelyard")


@pytest.fixture(scope="module")
def scientist(stage: Stage) -> Iterator[dict[str, str]]:
    with acting_as(stage, "DataScientist") as environment:
        yield environment


@pytest.fixture(scope="module")
def approver(stage: Stage) -> Iterator[dict[str, str]]:
    with acting_as(stage, "ModelApprover") as environment:
        yield environment


def logs(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`modelyard train logs` with somebody's rights."""
    return subprocess.run(
        [MODELYARD, "train", "logs", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def lines(environment: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    done = logs(environment, JOB, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_scientist_reads_attempts_and_ranks(stage: Stage, scientist: dict[str, str]) -> None:
    since = time.time()
    found = lines(scientist)
    assert [one["milliseconds"] for one in found] == sorted(one["milliseconds"] for one in found)
    tasks = {one["task"]: one["attempt"] for one in found}
    second = lines(scientist, "--attempt", "2")
    assert second == [one for one in found if one["attempt"] == 2]
    # Both hosts, of which one was lost; another may have come for it.
    assert list(tasks.values()).count(2) >= 2
    said = [one["message"] for one in second]
    assert {"starts ranks 0 of 2", "starts ranks 1 of 2", "starts ranks 0 of 1"} <= set(said)
    # Before a host has ranks its lines are of none; then each has those of the latest start.
    (began,) = {one["task"] for one in second if one["message"] == "starts ranks 1 of 2"}
    of_one = [one for one in second if one["task"] == began]
    place = next(i for i, one in enumerate(of_one) if one["message"].startswith("starts ranks "))
    assert all(one["ranks"] == [] for one in of_one[:place])
    assert of_one[place]["ranks"] == [1]
    by_rank = lines(scientist, "--attempt", "2", "--rank", "1")
    assert by_rank == [one for one in second if one["ranks"] == [1]]
    # Metrics come every ten seconds, and at the end.
    assert any('"Rank":"0"' in one["message"] for one in lines(scientist, "--rank", "0"))

    decisions = [one for one in stage.decisions(since) if one.role == "test-DataScientist"]
    assert [one for one in decisions if not one.allowed] == []
    assert {one.action for one in decisions if one.action.startswith("logs:")} == {"logs:GetLogEvents"}


def test_for_people_there_are_no_metrics_but_the_end(scientist: dict[str, str]) -> None:
    # Of a job that has ended there is nothing to follow, and nothing to wait for.
    done = logs(scientist, JOB, "--follow")
    assert done.returncode == 0, done.stderr
    assert '"_aws"' not in done.stdout
    assert " 2/0 epoch 24 of 24: train-loss:" in done.stdout
    assert done.stderr.startswith(f"{JOB}: completed: ")


def test_what_is_not_there_is_one_line(scientist: dict[str, str]) -> None:
    for arguments, words in (
        (("nobody",), "modelyard: there is no job nobody. See: modelyard train list\n"),
        ((JOB, "--attempt", "9"), f"modelyard: job {JOB} has had 2 attempts; there is none with number 9\n"),
    ):
        done = logs(scientist, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (FAILED, "", words)


def test_an_approver_reads_none_and_a_scientist_no_other_log(
    stage: Stage, scientist: dict[str, str], approver: dict[str, str]
) -> None:
    done = logs(approver, JOB)
    assert (done.returncode, done.stdout) == (DENIED, "")
    assert "not authorized to perform: cloudformation:DescribeStacks" in done.stderr
    trainers = stage.outputs["TrainerLogGroup"]
    task = stage.job(JOB)["tasks"][0]["task"]
    groups = {
        trainers: approver,
        stage.resource("ClusterRendezvousTaskLogs", "AWS::Logs::LogGroup"): scientist,
        stage.resource("JobsAttemptsLogs", "AWS::Logs::LogGroup"): scientist,
    }
    for group, person in groups.items():
        refused = client(person).get_log_events
        with pytest.raises(ClientError, match="not authorized to perform: logs:GetLogEvents"):
            refused(logGroupName=group, logStreamName=f"trainer/trainer/{task}")
    assert client(scientist).get_log_events(
        logGroupName=trainers, logStreamName=f"trainer/trainer/{task}", startFromHead=True
    )["events"]
    with pytest.raises(ClientError, match="not authorized to perform: logs:FilterLogEvents"):
        client(scientist).filter_log_events(logGroupName=trainers)


def client(person: Mapping[str, str]) -> Any:
    return boto3.Session(
        person["AWS_ACCESS_KEY_ID"], person["AWS_SECRET_ACCESS_KEY"], person["AWS_SESSION_TOKEN"]
    ).client("logs")
