"""`modelyard executions` and `modelyard models`: what ran, and what is registered, wanted and served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any

import typer
from boto3.dynamodb.types import TypeDeserializer
from rich.table import Table
from rich.text import Text

from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.executions import ENDED
from modelyard_cli.output import JsonOption, console, print_json, styled
from modelyard_cli.registry import in_full


def executions(
    pipeline: Annotated[str | None, typer.Argument(help="Pipeline name; all of them without it.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most executions a pipeline.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List executions, newest first, with their outcome and times."""
    sagemaker = client("sagemaker")
    names = [pipeline] if pipeline else list(_pipelines(sagemaker))
    rows = [row for name in names for row in execution_rows(sagemaker, name, limit)]
    if as_json:
        print_json(rows)
    else:
        console.print(executions_table(rows))


def models(
    group: Annotated[str | None, typer.Argument(help="Model package group; all of them without it.")] = None,
    versions: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most versions a group.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List models: each version with its approval, which is wanted, served, a canary, and kept warm."""
    # Those that are served, not all of the account: of others the roles for people may read nothing.
    table, served = stack_outputs(client("cloudformation"), "serving", "RecordTableName", "ModelGroups")
    sagemaker, dynamodb = client("sagemaker"), client("dynamodb")
    groups = [group] if group else served.split(",")
    rows = [model_row(sagemaker, dynamodb, table, name, versions) for name in groups]
    if as_json:
        print_json(rows)
    else:
        console.print(models_table(rows))


def executions_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Rows of `execution_rows` for people."""
    table = _table("executions", "pipeline", "execution", "status", "started")
    table.add_column("seconds", justify="right")
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(
            row["pipeline"],
            row["arn"].rsplit("/", 1)[-1],
            styled(row["status"]),
            f"{row['started']:%Y-%m-%d %H:%M:%S}",
            f"{row['seconds']:.1f}",
            Text(row["failure_reason"] or "", style="red"),
        )
    return table


def models_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Rows of `model_row` for people: a line for each version, also for one that only the record names."""
    table = _table("models", "group", "version", "approval", "created")
    for name in ("served", "last verdict, last error"):
        table.add_column(name, overflow="fold")
    for row in rows:
        listed = {version["version"]: version for version in row["versions"]}
        lines = sorted(listed.keys() | _named(row), reverse=True)
        for number in lines:
            version = listed.get(number)
            table.add_row(
                row["group"] if number == lines[0] else "",
                str(number),
                styled(version["status"]) if version else "[dim]deleted[/dim]",
                f"{version['created']:%Y-%m-%d %H:%M:%S}" if version else "",
                _role_of(number, row),
                _said(number, row),
            )
        if not lines:
            table.add_row(row["group"], "", "[dim]no versions[/dim]", "", "", "")
        if row["error"] and row["error"]["version"] not in lines:
            # About the group, such as a registry that did not answer.
            table.add_row("", "", "", "", "", Text(row["error"]["message"], style="red"))
    return table


def execution_rows(sagemaker: Any, pipeline: str, limit: int) -> list[dict[str, Any]]:
    """The newest executions of a pipeline; `seconds` is wall time, so far where one still runs."""
    found = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
    )
    rows = []
    for summary in islice((s for page in found for s in page["PipelineExecutionSummaries"]), limit):
        arn = summary["PipelineExecutionArn"]
        seen = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        status = seen["PipelineExecutionStatus"]
        end = seen["LastModifiedTime"] if status in ENDED else datetime.now(UTC)
        rows.append(
            {
                "pipeline": pipeline,
                "arn": arn,
                "status": status,
                "started": summary["StartTime"],
                "seconds": round(max(0.0, (end - seen["CreationTime"]).total_seconds()), 3),
                "failure_reason": seen.get("FailureReason"),
            }
        )
    return rows


def model_row(sagemaker: Any, dynamodb: Any, table: str, group: str, limit: int) -> dict[str, Any]:
    """A group: the one that the registry wants served, the deployer's record, and versions, newest first.

    These are the newest `limit`, and those that the other members name as far as the registry has them still.
    """
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    packages = [package for page in pages for package in page["ModelPackageSummaryList"]]
    versions = [
        {
            "version": package["ModelPackageVersion"],
            "status": package["ModelApprovalStatus"],
            "created": package["CreationTime"],
            "arn": package["ModelPackageArn"],
        }
        for package in packages
    ]
    approved = [package for package in packages if package["ModelApprovalStatus"] == "Approved"]
    # Of canaries alone there is nothing to compare with: the newest is to serve.
    newest = max((package["ModelPackageVersion"] for package in approved), default=None)
    item = dynamodb.get_item(TableName=table, Key={"group": {"S": group}}, ConsistentRead=True).get(
        "Item", {}
    )
    read = TypeDeserializer().deserialize
    record = {name: read(value) for name, value in item.items()}
    row: dict[str, Any] = {
        "group": group,
        "desired": in_full(sagemaker, approved) or newest,
        "serving": _version(record.get("serving")),
        "previous": _version(record.get("previous")),
        "canary": _numbers(record.get("canary"), "version", "percent", "since"),
        "verdict": _numbers(record.get("verdict"), "version", "outcome", "reason", "at"),
        "error": _numbers(record.get("error"), "version", "message", "at"),
    }
    named = _named(row)
    row["versions"] = versions[:limit] + [old for old in versions[limit:] if old["version"] in named]
    return row


def _named(row: Mapping[str, Any]) -> set[int]:
    """Versions that a row says something about; an error's is 0 where it is about none."""
    numbers = {row[name] for name in ("desired", "serving", "previous")}
    numbers |= {row[name]["version"] for name in ("canary", "verdict", "error") if row[name]}
    return numbers - {None, 0}


def _numbers(members: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
    """These members, with DynamoDB's numbers as integers."""
    if members is None:
        return None
    return {n: int(members[n]) if isinstance(members[n], Decimal) else members[n] for n in names}


def _version(deployment: dict[str, Any] | None) -> int | None:
    return int(deployment["version"]) if deployment else None


def _said(version: int, row: Mapping[str, Any]) -> Text:
    """How the last canary ended, and what the last error was, beside the version that it is about."""
    text, verdict, error = Text(), row["verdict"], row["error"]
    if verdict and verdict["version"] == version:
        text.append(f"{verdict['outcome']}: {verdict['reason']}", style="cyan")
    if error and error["version"] == version:
        text.append("\n" if text else "").append(f"version {version}: {error['message']}", style="red")
    return text


def _role_of(version: int, row: Mapping[str, Any]) -> str:
    if version == row["serving"]:
        return "[bold green]serving[/bold green]"
    if row["canary"] and version == row["canary"]["version"]:
        return f"[cyan]canary {row['canary']['percent']} %[/cyan]"
    if version == row["desired"]:
        return "[yellow]wanted[/yellow]"
    return "previous" if version == row["previous"] else ""


def _pipelines(sagemaker: Any) -> Iterator[str]:
    for page in sagemaker.get_paginator("list_pipelines").paginate():
        yield from (summary["PipelineName"] for summary in page["PipelineSummaries"])


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
