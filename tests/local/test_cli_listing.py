"""`modelyard executions`, `models` and `graph --execution` against the local cloud."""

from __future__ import annotations

import io
import json
import time
import uuid
from typing import Any

import pytest
from rich.console import Console
from serving_runtime.item import to_item
from serving_runtime.record import Canary as RunningCanary
from serving_runtime.record import Deployment, Record, Verdict
from typer.testing import CliRunner

from localcloud.context import Cloud, Credentials
from modelyard_cli.errors import CliError
from modelyard_cli.listing import model_row, models_table
from modelyard_cli.main import app
from modelyard_cli.registry import decide

DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Number", "Type": "Integer", "DefaultValue": 1}],
        "Steps": [
            {
                "Name": "Gate",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [
                        {"Type": "Equals", "LeftValue": {"Get": "Parameters.Number"}, "RightValue": 1}
                    ],
                    "IfSteps": [],
                    "ElseSteps": [
                        {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": "not one"}},
                    ],
                },
            }
        ],
    }
)


@pytest.fixture
def run(cloud: Cloud, admin: Credentials, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command as a person with this environment would; returns its JSON or its text."""
    for name, value in cloud.environment(admin).items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str) -> Any:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return invoke


def test_executions_are_listed_newest_first_and_drawn(cloud: Cloud, admin: Credentials, role: Any, run: Any):
    sagemaker, name = cloud.client("sagemaker", admin), f"listed-{uuid.uuid4().hex[:8]}"
    sagemaker.create_pipeline(
        PipelineName=name, PipelineDefinition=DEFINITION, RoleArn=role("sagemaker.amazonaws.com", [])
    )
    for number in "12":
        begun = time.monotonic()
        arn = sagemaker.start_pipeline_execution(
            PipelineName=name, PipelineParameters=[{"Name": "Number", "Value": number}]
        )["PipelineExecutionArn"]
        while (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            == "Executing"
        ):
            time.sleep(0.05)
    took = time.monotonic() - begun

    rows = run("executions", name, "--json")
    assert [row["status"] for row in rows] == ["Failed", "Succeeded"]
    assert rows[0]["arn"] == arn
    assert 0 < rows[0]["seconds"] <= took
    assert name in {row["pipeline"] for row in run("executions", "--json")}
    assert "Failed" in run("executions", name, "--limit", "1")
    drawn = run("graph", "--execution", arn, "--json")
    assert {step["name"]: step["status"] for step in drawn["steps"]} == {
        "Gate": "Succeeded",
        "Refuse": "Failed",
    }
    assert run("graph", "--execution", arn, "--format", "svg").startswith("<svg")


def test_a_model_shows_what_is_wanted_served_and_wrong(cloud: Cloud, admin: Credentials):
    sagemaker, dynamodb = cloud.client("sagemaker", admin), cloud.client("dynamodb", admin)
    group, table = f"model-{uuid.uuid4().hex[:8]}", f"records-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"
    for _ in range(3):
        sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": "s3://models/a/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )
    decide(sagemaker, group, 1, "Approved", None)
    decide(sagemaker, group, 2, "Approved", None)
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    nothing = model_row(sagemaker, dynamodb, table, group, 10)
    assert (nothing["desired"], nothing["serving"], nothing["error"]) == (2, None, None)

    error = {"version": {"N": "2"}, "message": {"S": "golden rows differ"}, "at": {"S": "now"}}
    dynamodb.put_item(
        TableName=table,
        Item={"group": {"S": group}, "serving": {"M": {"version": {"N": "1"}}}, "error": {"M": error}},
    )
    row = model_row(sagemaker, dynamodb, table, group, 1)
    assert (row["desired"], row["serving"], row["previous"]) == (2, 1, None)
    assert row["error"] == {"version": 2, "message": "golden rows differ", "at": "now"}
    assert [version["version"] for version in row["versions"]] == [3, 2, 1]
    shown = Console(file=io.StringIO(), width=160)
    shown.print(models_table([row]))
    assert isinstance(shown.file, io.StringIO)
    newest, wanted, serving = [line for line in shown.file.getvalue().splitlines() if line.startswith("│")]
    assert "PendingManualApproval" in newest
    assert "wanted" in wanted
    assert "version 2: golden rows differ" in wanted
    assert "serving" in serving


@pytest.fixture
def group(cloud: Cloud, admin: Credentials) -> str:
    """A group of three versions that nobody has decided about."""
    sagemaker, name = cloud.client("sagemaker", admin), f"model-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    container = {
        "Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1",
        "ModelDataUrl": "s3://models/a/model.tar.gz",
    }
    for _ in range(3):
        sagemaker.create_model_package(
            ModelPackageGroupName=name,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )
    return name


def test_approval_for_a_share_is_one_fact_of_the_registry(
    cloud: Cloud, admin: Credentials, group: str, run: Any
):
    sagemaker = cloud.client("sagemaker", admin)

    def seen(version: int) -> tuple[str, dict[str, str]]:
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{group}/{version}"
        described = sagemaker.describe_model_package(ModelPackageName=arn)
        return described["ModelApprovalStatus"], described.get("CustomerMetadataProperties", {})

    first = " ".join(run("approve", group, "1", "--canary", "10").split())
    assert "for 10 % of the requests" in first
    assert "it serves all requests" in first
    assert seen(1) == ("Approved", {"canary-percent": "10"})
    assert run("approve", group, "1", "--json")["alone"] is False
    assert seen(1) == ("Approved", {})
    second = run("approve", group, "2", "--canary", "25", "--json")
    assert (second["canary"], second["alone"], second["before"]) == (25, False, "PendingManualApproval")

    # What the deployer noted about a canary's end does not outlive the next approval.
    arn = second["arn"]
    ended = {
        "canary-verdict": "rolled-back",
        "canary-reason": "-",
        "canary-verdict-at": "now",
        "team": "risk",
    }
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", CustomerMetadataProperties=ended
    )
    run("approve", group, "2", "--canary", "5")
    assert seen(2) == ("Approved", {"canary-percent": "5", "team": "risk"})
    run("approve", group, "2")
    assert seen(2) == ("Approved", {"team": "risk"})


def test_canaries_that_would_get_nothing_are_refused(cloud: Cloud, admin: Credentials, group: str, run: Any):
    sagemaker = cloud.client("sagemaker", admin)
    run("approve", group, "3")
    with pytest.raises(CliError, match=r"version 3 of .* is newer and approved for all requests.*Reject"):
        decide(sagemaker, group, 2, "Approved", None, canary=10)
    for share in (0, 100):
        with pytest.raises(CliError, match=f"1 to 99 percent of the requests, not {share}"):
            decide(sagemaker, group, 2, "Approved", None, canary=share)
        answer = CliRunner().invoke(app, ["approve", group, "2", "--canary", str(share)])
        assert answer.exit_code == 2
    with pytest.raises(CliError, match="has no version 9"):
        decide(sagemaker, group, 9, "Approved", None, canary=10)


def test_a_model_shows_its_canary_and_how_the_last_one_ended(cloud: Cloud, admin: Credentials, group: str):
    sagemaker, dynamodb = cloud.client("sagemaker", admin), cloud.client("dynamodb", admin)
    decide(sagemaker, group, 1, "Approved", None)
    decide(sagemaker, group, 3, "Approved", None, canary=10)
    record = Record(
        group=group,
        generation=7,
        desired=1,
        serving=_deployment(1),
        canary=RunningCanary(deployment=_deployment(3), percent=10),
        verdict=Verdict(version=2, outcome="rolled-back", reason="errors", at="then"),
        updated="now",
    )
    table = f"records-{uuid.uuid4().hex[:8]}"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=table, Item=to_item(record))
    row = model_row(sagemaker, dynamodb, table, group, 10)
    assert (row["desired"], row["serving"]) == (1, 1)
    assert row["canary"] == {"version": 3, "percent": 10, "since": "then"}
    assert row["verdict"] == {"version": 2, "outcome": "rolled-back", "reason": "errors", "at": "then"}
    assert json.loads(json.dumps(row["canary"])) == row["canary"]


def _deployment(version: int) -> Deployment:
    return Deployment(version=version, package_arn="arn", artifact="a", sha256="b", since="then")
