"""`modelyard executions` and `modelyard models`: what ran, and what is registered, wanted and served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any

import typer
from boto3.dynamodb.types import TypeDeserializer
from rich.table import Table
from rich.text import Text

from modelyard_cli.aws import client, stack_outputs
from modelyard_cli.errors import CliError
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
    names = [pipeline] if pipeline else list(_names(sagemaker, "list_pipelines", "Pipeline"))
    rows = [row for name in names for row in execution_rows(sagemaker, name, limit)]
    if as_json:
        print_json(rows)
        return
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
    console.print(table)


def models(
    group: Annotated[str | None, typer.Argument(help="Model package group; all of them without it.")] = None,
    versions: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most versions a group.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List models: each version with its approval, which is wanted, served, a canary, and kept warm."""
    sagemaker = client("sagemaker")
    groups = [group] if group else list(_names(sagemaker, "list_model_package_groups", "ModelPackageGroup"))
    table_name = stack_outputs(client("cloudformation")).get("RecordTableName")
    if table_name is None:
        raise CliError("the deployed stacks have no output RecordTableName, so what is served is not known")
    dynamodb = client("dynamodb")
    rows = [model_row(sagemaker, dynamodb, table_name, name, versions) for name in groups]
    if as_json:
        print_json(rows)
        return
    table = _table("models", "group", "version", "approval", "created")
    for name in ("served", "last verdict, last error"):
        table.add_column(name, overflow="fold")
    for row in rows:
        for number, version in enumerate(row["versions"]):
            table.add_row(
                "" if number else row["group"],
                str(version["version"]),
                styled(version["status"]),
                f"{version['created']:%Y-%m-%d %H:%M:%S}",
                _role_of(version["version"], row),
                _said(version["version"], row, first=not number),
            )
        if not row["versions"]:
            table.add_row(row["group"], "", "[dim]no versions[/dim]", "", "", "")
    console.print(table)


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
    """A group: its newest versions, the one that the registry wants served, and the deployer's record."""
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
    return {
        "group": group,
        "desired": in_full(sagemaker, approved) or newest,
        "serving": _version(record.get("serving")),
        "previous": _version(record.get("previous")),
        "canary": _numbers(record.get("canary"), "version", "percent", "since"),
        "verdict": _numbers(record.get("verdict"), "version", "outcome", "reason", "at"),
        "error": _numbers(record.get("error"), "version", "message", "at"),
        "versions": versions[:limit],
    }


def _numbers(members: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
    """These members, with DynamoDB's numbers as integers."""
    if members is None:
        return None
    return {n: int(members[n]) if isinstance(members[n], Decimal) else members[n] for n in names}


def _version(deployment: dict[str, Any] | None) -> int | None:
    return int(deployment["version"]) if deployment else None


def _said(version: int, row: dict[str, Any], *, first: bool) -> Text:
    """How the last canary ended, beside its version; the last error, beside the newest."""
    text, verdict, error = Text(), row["verdict"], row["error"]
    if verdict and verdict["version"] == version:
        text.append(f"{verdict['outcome']}: {verdict['reason']}", style="cyan")
    if error and first:
        text.append("\n" if text else "").append(error["message"], style="red")
    return text


def _role_of(version: int, row: dict[str, Any]) -> str:
    if version == row["serving"]:
        return "[bold green]serving[/bold green]"
    if row["canary"] and version == row["canary"]["version"]:
        return f"[cyan]canary {row['canary']['percent']} %[/cyan]"
    if version == row["desired"]:
        return "[yellow]wanted[/yellow]"
    return "previous" if version == row["previous"] else ""


def _names(sagemaker: Any, operation: str, kind: str) -> Iterator[str]:
    for page in sagemaker.get_paginator(operation).paginate():
        for summary in page[f"{kind}SummaryList" if kind != "Pipeline" else "PipelineSummaries"]:
            yield summary[f"{kind}Name"]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
