"""What the listing commands print, cell by cell."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from modelyard_cli import predict
from modelyard_cli.aws import stack_outputs
from modelyard_cli.errors import UNREACHABLE, CliError
from modelyard_cli.executions import Execution, Step
from modelyard_cli.listing import executions_table, model_row, models_table
from modelyard_cli.pipelines import picture

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
GROUP = "loans"


def printed(table: Any) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(table: Any) -> list[list[str]]:
    """The lines of the one table in what is printed, without its title, headings and borders."""
    lines = [line for line in printed(table).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


class Registry:
    """Versions 1 to `newest`, less those that were deleted; version 2 and all above 11 are approved."""

    def __init__(self, newest: int, deleted: tuple[int, ...] = ()) -> None:
        self.versions = [number for number in range(newest, 0, -1) if number not in deleted]

    def get_paginator(self, _: str) -> Registry:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        found = [
            {
                "ModelPackageVersion": number,
                "ModelApprovalStatus": "Approved" if number == 2 or number > 11 else "Rejected",
                "CreationTime": START + timedelta(minutes=number),
                "ModelPackageArn": f"arn/{number}",
            }
            for number in self.versions
        ]
        return [{"ModelPackageSummaryList": found[:3]}, {"ModelPackageSummaryList": found[3:]}]

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:
        canary = ModelPackageName == "arn/12"
        return {"CustomerMetadataProperties": {"canary-percent": "10"} if canary else {}}


class Records:
    """A table with one record, or none."""

    def __init__(self, **members: Any) -> None:
        self.members = members

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.members} if self.members else {}


def of(version: int, **said: str) -> dict[str, Any]:
    return {"M": {"version": {"N": str(version)}, **{name: {"S": text} for name, text in said.items()}}}


def rows(registry: Registry, records: Records, limit: int) -> list[list[str]]:
    return cells(models_table([model_row(registry, records, "records", GROUP, limit)]))


def test_versions_that_matter_are_shown_however_old() -> None:
    canary = of(12, since="then")
    canary["M"]["percent"] = {"N": "10"}
    records = Records(
        serving=of(2),
        previous=of(1),
        canary=canary,
        verdict=of(4, outcome="rolled-back", reason="5 % errors", at="then"),
        error=of(6, message="golden row 0 differs", at="then"),
    )

    assert rows(Registry(14), records, 2) == [
        ["loans", "14", "Approved", "2026-03-01 09:44:00", "wanted", ""],
        ["", "13", "Approved", "2026-03-01 09:43:00", "", ""],
        ["", "12", "Approved", "2026-03-01 09:42:00", "canary 10 %", ""],
        ["", "6", "Rejected", "2026-03-01 09:36:00", "", "version 6: golden row 0 differs"],
        ["", "4", "Rejected", "2026-03-01 09:34:00", "", "rolled-back: 5 % errors"],
        ["", "2", "Approved", "2026-03-01 09:32:00", "serving", ""],
        ["", "1", "Rejected", "2026-03-01 09:31:00", "previous", ""],
    ]


def test_a_wanted_version_is_shown_however_old() -> None:
    listed = rows(Registry(11), Records(), 1)

    assert [line[1:5:3] for line in listed] == [["11", ""], ["2", "wanted"]]


def test_a_verdict_and_an_error_about_one_version_stand_below_each_other() -> None:
    records = Records(
        verdict=of(2, outcome="promoted", reason="as good", at="then"), error=of(2, message="gone", at="then")
    )

    assert [line[1:3] + line[-1:] for line in rows(Registry(2), records, 1)] == [
        ["2", "Approved", "promoted: as good"],
        ["", "", "version 2: gone"],
    ]


def test_versions_that_were_deleted_are_shown_by_what_the_record_says() -> None:
    records = Records(serving=of(3), error=of(2, message="its archive is gone", at="then"))

    assert rows(Registry(3, deleted=(1, 2, 3)), records, 10) == [
        ["loans", "3", "deleted", "", "serving", ""],
        ["", "2", "deleted", "", "", "version 2: its archive is gone"],
    ]


@pytest.mark.parametrize("newest", [0, 1])
def test_an_error_about_no_version_is_shown_of_every_group(newest: int) -> None:
    records = Records(error=of(0, message="AccessDenied: ListModelPackages", at="then"))
    *versions, error = rows(Registry(newest), records, 10)

    assert [line[:3] for line in versions] == [
        ["loans", "1", "Rejected"] if newest else ["loans", "", "no versions"]
    ]
    assert error == ["", "", "", "", "", "AccessDenied: ListModelPackages"]


def test_executions() -> None:
    common = {"pipeline": "loans", "started": START}
    shown = cells(
        executions_table(
            [
                {
                    **common,
                    "arn": "a/execution/abc",
                    "status": "Failed",
                    "seconds": 61.23,
                    "failure_reason": "[x] no",
                },
                {
                    **common,
                    "arn": "a/execution/def",
                    "status": "Executing",
                    "seconds": 0.5,
                    "failure_reason": None,
                },
            ]
        )
    )

    assert shown == [
        ["loans", "abc", "Failed", "2026-03-01 09:30:00", "61.2", "[x] no"],
        ["loans", "def", "Executing", "2026-03-01 09:30:00", "0.5", ""],
    ]


def test_steps_of_a_run() -> None:
    steps = (
        Step(name="Train", type="Training", status="Succeeded", seconds=12.34, detail="from cache"),
        Step(name="Gate", type="Condition", status="Failed", detail="[a] no metric"),
        Step(name="Register", type="RegisterModel", status="Skipped"),
        Step(name="Score", type="Transform"),
    )
    execution = Execution(arn="a", status="Failed", failure_reason="[b] a step", seconds=20, steps=steps)
    shown = picture(execution, "loans")

    assert cells(shown) == [
        ["Train", "Training", "Succeeded", "12.3", "from cache"],
        ["Gate", "Condition", "Failed", "", "[a] no metric"],
        ["Score", "Transform", "Waiting", "", ""],
    ]
    assert printed(shown).splitlines()[-1].strip() == "Failed  20.0 s  [b] a step"


def test_predictions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    yes = {"label": "yes", "probabilities": {"no": 0.1, "yes": 0.9}}
    answer = {"model": "loans", "versions": [3, 4], "predictions": [12.345678, yes]}
    monkeypatch.setattr(predict, "invoke", lambda url, model, rows: answer)

    predict.predict("loans", [str(tmp_path / "rows.csv")], url="https://example.com")

    title, *table = capsys.readouterr().out.splitlines()
    assert title.strip() == "loans version 3, 4"
    shown = [[cell.strip() for cell in line.strip("│").split("│")] for line in table if line.startswith("│")]
    assert shown == [["1", "12.3457"], ["2", "yes (0.900)"]]


class Formation:
    """One stack, as CloudFormation describes it by its name."""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName != "modelyard-dev-serving":
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStacks")
        return {"Stacks": [{"StackName": StackName, "Outputs": [{"OutputKey": "A", "OutputValue": "a"}]}]}


def test_outputs_are_those_of_the_environment_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_ENV", "dev")
    assert stack_outputs(Formation(), "serving", "A") == ["a"]
    with pytest.raises(CliError, match="modelyard-dev-serving has no output B: deploy it anew") as old:
        stack_outputs(Formation(), "serving", "A", "B")
    monkeypatch.delenv("MODELYARD_ENV")
    with pytest.raises(CliError, match=r"modelyard-local-serving is deployed here.*MODELYARD_ENV") as absent:
        stack_outputs(Formation(), "serving", "A")
    assert old.value.code == absent.value.code == UNREACHABLE
