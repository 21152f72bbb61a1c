"""`modelyard train logs` against streams that are read as CloudWatch Logs lets them be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.train import command, jobs
from modelyard_cli.train.jobs import Cluster
from tests.unit.test_cli_train import RECORD, Aws

PAGE = 2
METRIC = '{"_aws":{"Timestamp":0},"Job":"dogs-1","attempt":1,"Rank":"3","StepTime":1.5}'


class Logs:
    """Streams by task, as lines of (milliseconds, message), in pages of two with an empty one in between;
    those of single hosts by their whole name."""

    def __init__(self, **streams: list[tuple[int, str]]) -> None:
        self.streams = {
            name if "/" in name else f"trainer/trainer/{name}": lines for name, lines in streams.items()
        }
        self.empty = False

    def get_log_events(
        self, logGroupName: str, logStreamName: str, nextToken: str | None = None, startFromHead: bool = False
    ) -> dict[str, Any]:
        assert logGroupName == ("group" if logStreamName.startswith("trainer/trainer/") else "single")
        assert startFromHead or nextToken
        if logStreamName not in self.streams:
            error = {"Code": "ResourceNotFoundException", "Message": "no such stream"}
            raise ClientError({"Error": error}, "GetLogEvents")
        lines = self.streams[logStreamName]
        start = int(nextToken or 0) // 2
        # Every other token is that of a page with nothing on it.
        self.empty = int(nextToken or 0) % 2 == 0 and start < len(lines) and nextToken is not None
        if self.empty:
            return {"events": [], "nextForwardToken": str(2 * start + 1)}
        page = lines[start : start + PAGE]
        end = 2 * (start + len(page))
        events = [{"timestamp": at, "message": message} for at, message in page]
        return {"events": events, "nextForwardToken": nextToken if nextToken and not page else str(end)}


class Outputs:
    """Of the deployed stack."""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        groups = {"TrainerLogGroup": "group", "InstanceLogGroup": "single"}
        told = [{"OutputKey": name, "OutputValue": group} for name, group in groups.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": told}]}


def job(*tasks: tuple[int, str], **members: Any) -> dict[str, Any]:
    listed = [{"attempt": attempt, "task": task} for attempt, task in tasks]
    return {**RECORD, "attempt": 2, "tasks": listed, **members}


TWO = Logs(
    a=[(1_000, "starts ranks 0 of 2"), (2_000, "epoch 1"), (2_001, '{"event":"checkpoint","step":5}')],
    b=[(900, "waits"), (1_000, "starts ranks 1 of 2"), (2_000, "host 2 of 2"), (5_000, "error: no memory")],
    c=[(9_000, "starts ranks 2, 3 of 4"), (9_001, "host 3 of 4"), (9_002, METRIC)],
)
TASKS = ((1, "a"), (1, "b"), (2, "c"), (2, "never-started"))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(aws: Aws, logs: Any, *arguments: str) -> Any:
        monkeypatch.setattr(command, "cluster", lambda: Cluster(aws, aws, "url", "table"))
        monkeypatch.setattr(jobs, "client", lambda service: logs if service == "logs" else Outputs())
        monkeypatch.setattr(command, "_EVERY_S", 0.0)
        return CliRunner().invoke(command.app, ["logs", *arguments])

    return run


def test_hosts_are_one_log_in_the_order_of_time(call: Any) -> None:
    result = call(Aws(job(*TASKS)), TWO, "dogs-1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "1970-01-01 00:00:00 1/- waits",
        "1970-01-01 00:00:01 1/0 starts ranks 0 of 2",
        "1970-01-01 00:00:01 1/1 starts ranks 1 of 2",
        "1970-01-01 00:00:02 1/0 epoch 1",
        "1970-01-01 00:00:02 1/1 host 2 of 2",
        '1970-01-01 00:00:02 1/0 {"event":"checkpoint","step":5}',
        "1970-01-01 00:00:05 1/1 error: no memory",
        "1970-01-01 00:00:09 2/2,3 starts ranks 2, 3 of 4",
        "1970-01-01 00:00:09 2/2,3 host 3 of 4",
    ]
    assert result.stderr == "dogs-1: running: attempt 1 trains on 3 hosts from step 100\n"


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--attempt", "2"), ["starts ranks 2, 3 of 4", "host 3 of 4", METRIC]),
        (("--rank", "1"), ["starts ranks 1 of 2", "host 2 of 2", "error: no memory"]),
        # What a host of two ranks writes may be of either; a metric says whose it is.
        (("--rank", "2"), ["starts ranks 2, 3 of 4", "host 3 of 4"]),
        (("--rank", "3", "--attempt", "2"), ["starts ranks 2, 3 of 4", "host 3 of 4", METRIC]),
        (("--rank", "0", "--attempt", "2"), []),
    ],
)
def test_one_attempt_or_rank(call: Any, options: tuple[str, ...], lines: list[str]) -> None:
    result = call(Aws(job(*TASKS)), TWO, "dogs-1", *options, "--json")
    assert [json.loads(line)["message"] for line in result.stdout.splitlines()] == lines
    assert ("no lines" in result.stderr) == (not lines)


def test_a_single_host_has_a_log_of_its_own(call: Any) -> None:
    streams = {
        "trainer/dogs-1/1": [(1_000, "starts ranks 0 of 1"), (2_000, "step 1")],
        "trainer/dogs-1/2": [(3_000, "starts ranks 0 of 1"), (4_000, "step 2")],
    }
    record = job((1, "dogs-1_1"), (2, "dogs-1_2"))
    record["request"] = {**record["request"], "instance": True}
    result = call(Aws(record), Logs(**streams), "dogs-1", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["attempt"], one["ranks"], one["message"]) for one in lines] == [
        (1, [0], "starts ranks 0 of 1"),
        (1, [0], "step 1"),
        (2, [0], "starts ranks 0 of 1"),
        (2, [0], "step 2"),
    ]


def test_machines_get_all_that_is_known_of_a_line(call: Any) -> None:
    result = call(Aws(job((2, "c"))), TWO, "dogs-1", "--json")
    *_, last = map(json.loads, result.stdout.splitlines())
    assert last == {"milliseconds": 9_002, "attempt": 2, "ranks": [3], "task": "c", "message": METRIC}


def test_a_log_is_followed_to_its_end_and_into_further_attempts(call: Any) -> None:
    logs = Logs(a=[(1_000, "starts ranks 0 of 1"), (2_000, "step 1")])
    aws = Aws(job((1, "a")))
    get_item, looks = aws.get_item, []

    def later(**options: Any) -> Any:
        looks.append(1)
        match len(looks):
            case 3:
                logs.streams["trainer/trainer/a"].append((3_000, "step 2"))
            case 4:
                aws.records["dogs-1"] = job((1, "a"), (2, "b"))
            case 5:
                logs.streams["trainer/trainer/b"] = [(4_000, "starts ranks 0 of 1"), (5_000, "step 3")]
            case 6:
                # The end is known before the last line has come.
                aws.records["dogs-1"]["state"] = "failed"
                aws.records["dogs-1"]["reason"] = "the trainer refuses it"
        return get_item(**options)

    aws.get_item = later  # type: ignore[method-assign]
    result = call(aws, logs, "dogs-1", "--follow")
    assert result.exit_code == 0, result.output
    said = [line.split(maxsplit=2)[2] for line in result.stdout.splitlines()]
    assert said == [
        "1/0 starts ranks 0 of 1",
        "1/0 step 1",
        "1/0 step 2",
        "2/0 starts ranks 0 of 1",
        "2/0 step 3",
    ]
    assert result.stderr == "dogs-1: failed: the trainer refuses it\n"


def test_a_job_of_which_nothing_is_known_yet(call: Any) -> None:
    for record in (job(state="queued"), job((1, "never-started")), {**RECORD, "state": "queued"}):
        result = call(Aws(record), TWO, "dogs-1")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no lines: none was written, or they are no longer kept" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cats",), "there is no job cats. See: modelyard train list"),
        (("dogs-1", "--attempt", "3"), "job dogs-1 has had 2 attempts; there is none with number 3"),
    ],
)
def test_what_is_not_there_is_one_line(call: Any, arguments: tuple[str, ...], words: str) -> None:
    result = call(Aws(job(*TASKS)), TWO, *arguments)
    assert isinstance(result.exception, CliError)
    assert (str(result.exception), result.exception.code) == (words, FAILED)


def test_a_refusal_is_not_an_empty_log(call: Any) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetLogEvents")

    logs = Logs()
    logs.get_log_events = refuse  # type: ignore[assignment,method-assign]
    assert isinstance(call(Aws(job(*TASKS)), logs, "dogs-1").exception, ClientError)
