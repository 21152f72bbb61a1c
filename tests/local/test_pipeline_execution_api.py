"""Operations of pipelines and executions: errors, idempotency, pages, parameters, permissions, restarts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Credentials
from tests.local.pipeline_support import ALL, Bench, definition, gate
from tests.local.support import code_of

Statements = list[dict[str, Any]]
PASS = {
    "Name": "Pass",
    "Type": "Condition",
    "Arguments": {"Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}]},
}
PARAMETERS = [
    {"Name": "Rows", "Type": "Integer", "DefaultValue": 1},
    {"Name": "Status", "Type": "String", "DefaultValue": "A", "EnumValues": ["A", "B"]},
]


def test_what_does_not_exist(bench: Bench) -> None:
    for operation in (
        "describe_pipeline",
        "start_pipeline_execution",
        "list_pipeline_executions",
        "delete_pipeline",
    ):
        code, message = code_of(getattr(bench.client, operation), PipelineName="nope")
        arn = f"arn:aws:sagemaker:{bench.cloud.region}:{bench.cloud.account}:pipeline/nope"
        assert (code, message) == ("ResourceNotFound", f"Pipeline '{arn}' does not exist.")
    execution = f"{arn}/execution/abcdefghijkl"
    for operation in (
        "describe_pipeline_execution",
        "list_pipeline_execution_steps",
        "stop_pipeline_execution",
    ):
        code, message = code_of(getattr(bench.client, operation), PipelineExecutionArn=execution)
        assert code == "ResourceNotFound"
        assert execution in message


def test_a_pipeline_through_its_life(bench: Bench) -> None:
    name = bench.create(
        PASS,
        PipelineDescription="first",
        Tags=[{"Key": "team", "Value": "risk"}],
        PipelineDisplayName="Shown",
    )
    found = bench.client.describe_pipeline(PipelineName=name)
    arn = found["PipelineArn"]
    assert (found["PipelineDisplayName"], found["PipelineDescription"]) == ("Shown", "first")
    assert (found["PipelineStatus"], found["RoleArn"]) == ("Active", bench.role_arn)
    assert found["CreatedBy"]["IamIdentity"]["Arn"].endswith(":user/administrator")
    assert bench.client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "risk"}]
    bench.client.update_pipeline(PipelineName=name, PipelineDescription="second")
    assert bench.client.describe_pipeline(PipelineName=arn)["PipelineDescription"] == "second"
    bench.wait(bench.start(name))
    summary = bench.client.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    assert [item["PipelineName"] for item in summary] == [name]
    assert summary[0]["LastExecutionTime"] >= summary[0]["CreationTime"]
    assert bench.client.delete_pipeline(PipelineName=name)["PipelineArn"] == arn
    assert code_of(bench.client.describe_pipeline, PipelineName=name)[0] == "ResourceNotFound"


def test_creation_is_idempotent_by_its_token_and_names_are_unique(bench: Bench) -> None:
    request = {
        "PipelineName": f"once-{uuid.uuid4().hex[:8]}",
        "RoleArn": bench.role_arn,
        "PipelineDefinition": definition(PASS),
        "ClientRequestToken": "t" * 32,
    }
    first = bench.client.create_pipeline(**request)["PipelineArn"]
    assert bench.client.create_pipeline(**request)["PipelineArn"] == first
    code, message = code_of(bench.client.create_pipeline, **request | {"ClientRequestToken": "u" * 32})
    assert code == "ValidationException"
    assert message.startswith("Pipeline names must be unique within an AWS account and region.")


def test_a_start_is_idempotent_by_its_token(bench: Bench) -> None:
    name = bench.create(PASS, parameters=PARAMETERS)
    token = "t" * 32
    first = bench.start(name, ClientRequestToken=token)
    assert bench.start(name, ClientRequestToken=token) == first
    assert bench.start(name) != first
    code, _ = code_of(bench.start, name=name, ClientRequestToken=token, values={"Rows": "2"})
    assert code == "ConflictException"


def test_definitions_come_inline_or_from_s3_as_the_caller_may(
    bench: Bench, actor: Callable[[Statements], Credentials]
) -> None:
    bench.s3.put_object(Bucket=bench.bucket, Key="definition.json", Body=definition(PASS).encode())
    request = {
        "PipelineName": f"from-s3-{uuid.uuid4().hex[:8]}",
        "RoleArn": bench.role_arn,
        "PipelineDefinitionS3Location": {"Bucket": bench.bucket, "ObjectKey": "definition.json"},
    }
    may = {"Effect": "Allow", "Action": ["sagemaker:CreatePipeline", "iam:PassRole"], "Resource": "*"}
    blind = bench.cloud.client("sagemaker", actor([may]))
    code, message = code_of(blind.create_pipeline, **request)
    assert code == "AccessDeniedException"
    assert "s3:GetObject" in message
    seeing = actor(
        [may, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bench.bucket}/*"}]
    )
    bench.cloud.client("sagemaker", seeing).create_pipeline(**request)
    found = bench.client.describe_pipeline(PipelineName=request["PipelineName"])
    assert found["PipelineDefinition"] == definition(PASS)
    request |= {
        "PipelineName": "x",
        "PipelineDefinitionS3Location": {"Bucket": bench.bucket, "ObjectKey": "no"},
    }
    code, message = code_of(bench.client.create_pipeline, **request)
    assert code == "ValidationException"
    assert f"s3://{bench.bucket}/no" in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Either Pipeline Definition or"),
        ({"PipelineDefinition": "nope"}, "not JSON"),
        ({"PipelineDefinition": definition({**PASS, "DependsOn": ["Ghost"]})}, "'Ghost'"),
    ],
)
def test_a_definition_that_is_wrong_is_refused(bench: Bench, given: dict[str, Any], words: str) -> None:
    code, message = code_of(
        bench.client.create_pipeline, PipelineName="wrong", RoleArn=bench.role_arn, **given
    )
    assert code == "ValidationException"
    assert words in message
    assert code_of(bench.client.describe_pipeline, PipelineName="wrong")[0] == "ResourceNotFound"


def test_a_step_that_cannot_run_here_is_refused_before_anything_starts(bench: Bench) -> None:
    crunch = {"Name": "Crunch", "Type": "EMR", "ClusterId": "j-1", "Arguments": {}}
    name = bench.create(bench.processing("First", "sleep", "0"), crunch)
    code, message = code_of(bench.start, name=name)
    assert code == "ValidationException"
    assert "'Crunch'" in message
    assert "EMR" in message
    assert not bench.client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]


@pytest.mark.parametrize(
    ("values", "words"),
    [({"Row": "1"}, "[Row]"), ({"Rows": "x"}, "Integer"), ({"Status": "C"}, "[A, B]")],
)
def test_parameters_are_checked_before_anything_starts(
    bench: Bench, values: dict[str, str], words: str
) -> None:
    name = bench.create(PASS, parameters=PARAMETERS)
    code, message = code_of(bench.start, name=name, values=values)
    assert code == "ValidationException"
    assert words in message
    assert not bench.client.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]


def test_the_parameters_of_an_execution(bench: Bench) -> None:
    arn = bench.start(bench.create(PASS, parameters=PARAMETERS), values={"Rows": "3"})
    listed = bench.client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert listed["PipelineParameters"] == [{"Name": "Rows", "Value": "3"}]


def test_pages(bench: Bench) -> None:
    steps = [{**PASS, "Name": f"S{n}", "DependsOn": [f"S{n - 1}"] if n else []} for n in range(5)]
    name = bench.create(*steps)
    arns = [bench.start(name) for _ in range(3)]
    for arn in arns:
        bench.wait(arn)
    pages = bench.client.get_paginator("list_pipeline_executions").paginate(
        PipelineName=name, PaginationConfig={"PageSize": 1}
    )
    listed = [
        item["PipelineExecutionArn"] for answer in pages for item in answer["PipelineExecutionSummaries"]
    ]
    assert listed == arns[::-1]
    pages = bench.client.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arns[0], PaginationConfig={"PageSize": 2}
    )
    names = [step["StepName"] for answer in pages for step in answer["PipelineExecutionSteps"]]
    assert names == ["S4", "S3", "S2", "S1", "S0"]
    code, _ = code_of(bench.client.list_pipeline_executions, PipelineName=name, NextToken="forged")
    assert code == "ValidationException"


def test_a_pipeline_with_a_running_execution_stays(bench: Bench) -> None:
    name = bench.create(bench.processing("Sleep", "sleep", "600"))
    arn = bench.start(name)
    code, message = code_of(bench.client.delete_pipeline, PipelineName=name)
    assert code == "ConflictException"
    assert arn in message
    bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)
    bench.wait(arn)
    bench.client.delete_pipeline(PipelineName=name)
    assert (
        code_of(bench.client.describe_pipeline_execution, PipelineExecutionArn=arn)[0] == "ResourceNotFound"
    )


def test_what_has_ended_cannot_be_stopped(bench: Bench) -> None:
    arn = bench.start(bench.create(PASS))
    bench.wait(arn)
    code, message = code_of(bench.client.stop_pipeline_execution, PipelineExecutionArn=arn)
    assert code == "ConflictException"
    assert "Succeeded" in message


@pytest.mark.parametrize("denied", ["sagemaker:CreateProcessingJob", "sagemaker:AddTags", "iam:PassRole"])
def test_the_execution_role_needs_its_permissions(
    bench: Bench, role: Callable[[str, Statements], str], denied: str
) -> None:
    limited = role("sagemaker.amazonaws.com", [*ALL, {"Effect": "Deny", "Action": denied, "Resource": "*"}])
    execution, steps = bench.run(
        bench.processing("Denied", "sleep", "0"),
        bench.processing("After", "sleep", "0", DependsOn=["Denied"]),
        RoleArn=limited,
    )
    assert execution["PipelineExecutionStatus"] == "Failed"
    reason = steps["Denied"]["FailureReason"]
    assert reason.startswith(
        "ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: User: "
    )
    assert f"is not authorized to perform: {denied}" in reason
    assert f"assumed-role/{limited.rsplit('/', 1)[-1]}/" in reason
    assert list(steps) == ["Denied"]


def test_the_execution_role_reads_the_report(bench: Bench, role: Callable[[str, Statements], str]) -> None:
    limited = role(
        "sagemaker.amazonaws.com",
        [*ALL, {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}],
    )
    execution, steps = bench.run(
        bench.report("Evaluate", "write", "report.json", '{"score": 1}'),
        gate("Evaluate", 6, [], []),
        RoleArn=limited,
    )
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "AccessDenied" in steps["Gate"]["FailureReason"]


def test_the_caller_needs_permissions_too(bench: Bench, actor: Callable[[Statements], Credentials]) -> None:
    name = bench.create(PASS)
    reader = bench.cloud.client(
        "sagemaker", actor([{"Effect": "Allow", "Action": "sagemaker:DescribePipeline", "Resource": "*"}])
    )
    found = reader.describe_pipeline(PipelineName=name)
    code, message = code_of(reader.start_pipeline_execution, PipelineName=name)
    assert code == "AccessDeniedException"
    assert f"sagemaker:StartPipelineExecution on resource: {found['PipelineArn']} because" in message
    creator = bench.cloud.client(
        "sagemaker", actor([{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}])
    )
    code, message = code_of(
        creator.create_pipeline,
        PipelineName="unpassed",
        RoleArn=bench.role_arn,
        PipelineDefinition=json.dumps({}),
    )
    assert code == "AccessDeniedException"
    assert "iam:PassRole" in message


def test_a_restart_leaves_nothing_half_alive(tmp_path: Path) -> None:
    root = tmp_path / "state"
    lifecycle.up(root)
    try:
        cloud, admin = connect(root)
        service = {"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **service}]}
        iam = cloud.client("iam", admin)
        arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        document = json.dumps({"Version": "2012-10-17", "Statement": ALL})
        iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=document)
        folder = tmp_path / "image"
        folder.mkdir()
        bench = Bench(cloud, admin, arn, folder)
        name = bench.create(bench.processing("Sleep", "sleep", "600"))
        execution = bench.start(name)
        lifecycle.down(root)
        lifecycle.up(root)
        cloud, admin = connect(root)
        client = cloud.client("sagemaker", admin)
        found = client.describe_pipeline_execution(PipelineExecutionArn=execution)
        assert found["PipelineExecutionStatus"] == "Failed"
        assert "local cloud was stopped" in found["FailureReason"]
        client.delete_pipeline(PipelineName=name)
    finally:
        lifecycle.down(root)
