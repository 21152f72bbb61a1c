"""`modelyard executions`, `models` and `graph --execution` against the local cloud."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from typer.testing import CliRunner

from localcloud.context import Cloud, Credentials
from modelyard_cli.listing import model_row
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
        arn = sagemaker.start_pipeline_execution(
            PipelineName=name, PipelineParameters=[{"Name": "Number", "Value": number}]
        )["PipelineExecutionArn"]
        while (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            == "Executing"
        ):
            time.sleep(0.05)

    rows = run("executions", name, "--json")
    assert [row["status"] for row in rows] == ["Failed", "Succeeded"]
    assert rows[0]["arn"] == arn
    assert 0 < rows[0]["seconds"] < 30
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
    row = model_row(sagemaker, dynamodb, table, group, 2)
    assert (row["desired"], row["serving"], row["previous"]) == (2, 1, None)
    assert row["error"] == {"version": 2, "message": "golden rows differ", "at": "now"}
    assert [version["version"] for version in row["versions"]] == [3, 2]
