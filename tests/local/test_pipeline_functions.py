"""Lambda and Callback steps with a real function and a real queue; versions and changes of executions."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from tests.local.pipeline_support import ALL, Bench, definition
from tests.local.support import until

Role = Callable[[str, list[dict[str, Any]]], str]
CODE = """
def handler(event, context):
    if event["n"] < 0:
        raise ValueError("n is negative")
    return {"statusCode": 200, "double": 2 * event["n"], "who": event["who"]}
"""


@pytest.fixture(scope="module")
def function(cloud: Cloud, admin: Credentials, role: Role) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", CODE)
    arn: str = cloud.client("lambda", admin).create_function(
        FunctionName=f"double-{uuid.uuid4().hex[:8]}",
        Runtime="python3.11",
        Handler="code.handler",
        Role=role("lambda.amazonaws.com", ALL),
        Code={"ZipFile": archive.getvalue()},
        Timeout=120,
    )["FunctionArn"]
    return arn


def call(function: str, number: Any, **members: Any) -> dict[str, Any]:
    return {
        "Name": "Call",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"n": number, "who": {"Get": "Execution.PipelineName"}},
        "OutputParameters": [
            {"OutputName": "statusCode", "OutputType": "String"},
            {"OutputName": "double", "OutputType": "Integer"},
        ],
        **members,
    }


def test_a_lambda_step_calls_the_deployed_function(bench: Bench, function: str) -> None:
    enough = {
        "Name": "Enough",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {
                    "Type": "GreaterThan",
                    "LeftValue": {"Get": "Steps.Call.OutputParameters['double']"},
                    "RightValue": 5,
                }
            ],
            "IfSteps": [],
            "ElseSteps": [],
        },
    }
    name = bench.create(call(function, 3, CacheConfig={"Enabled": True}), enough)
    execution = bench.wait(first := bench.start(name))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    steps = bench.steps(first)
    assert steps["Call"]["Metadata"]["Lambda"] == {
        "Arn": function,
        "OutputParameters": [{"Name": "statusCode", "Value": "200"}, {"Name": "double", "Value": "6"}],
    }
    assert steps["Enough"]["Metadata"]["Condition"]["Outcome"] == "True"

    bench.wait(second := bench.start(name))
    assert bench.steps(second)["Call"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}


def test_a_function_that_raises_fails_the_step(bench: Bench, function: str) -> None:
    execution, steps = bench.run(call(function, -1))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps["Call"]["FailureReason"].endswith(": n is negative")


def test_the_role_must_be_allowed_to_invoke(bench: Bench, function: str, role: Role) -> None:
    execution, steps = bench.run(call(function, 1), RoleArn=role("sagemaker.amazonaws.com", []))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "Failed to invoke lambda:Invoke" in steps["Call"]["FailureReason"]
    assert "not authorized to perform: lambda:InvokeFunction" in steps["Call"]["FailureReason"]


def test_a_callback_step_through_a_queue(bench: Bench, cloud: Cloud, admin: Credentials) -> None:
    sqs = cloud.client("sqs", admin)
    queue = sqs.create_queue(QueueName=f"ask-{uuid.uuid4().hex[:8]}")["QueueUrl"]

    def receive() -> dict[str, Any]:
        (message,) = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10).get("Messages"))
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        body: dict[str, Any] = json.loads(message["Body"])
        return body

    ask = {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"question": "good?"},
        "OutputParameters": [{"OutputName": "answer", "OutputType": "String"}],
    }
    shown = {"Get": "Steps.Ask.OutputParameters['answer']"}
    use = bench.processing("Use", "write", "answer.txt", shown)
    name = bench.create(ask, use)

    arn = bench.start(name)
    message = receive()
    assert message == {
        "token": message["token"],
        "pipelineExecutionArn": arn,
        "arguments": {"question": "good?"},
        "status": "Executing",
    }
    answered = bench.client.send_pipeline_execution_step_success(
        CallbackToken=message["token"], OutputParameters=[{"Name": "answer", "Value": "yes"}]
    )
    assert answered["PipelineExecutionArn"] == arn
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert bench.read(bench.uri(arn.rsplit("/", 1)[-1], "Use", "answer.txt")) == "yes"
    callback = bench.steps(arn)["Ask"]["Metadata"]["Callback"]
    assert callback["OutputParameters"] == [{"Name": "answer", "Value": "yes"}]
    with pytest.raises(ClientError, match="ConflictException"):
        bench.client.send_pipeline_execution_step_failure(CallbackToken=message["token"])

    arn = bench.start(name)
    first = receive()
    bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert {**first, "status": "Stopping"} == receive()
    assert bench.steps(arn)["Ask"]["StepStatus"] == "Stopping"
    bench.client.send_pipeline_execution_step_failure(CallbackToken=first["token"], FailureReason="stopped")
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Stopped"


def test_who_may_answer_a_callback(
    bench: Bench, cloud: Cloud, admin: Credentials, actor: Callable[[list[dict[str, Any]]], Credentials]
) -> None:
    queue = cloud.client("sqs", admin).create_queue(QueueName=f"who-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    ask = {"Name": "Ask", "Type": "Callback", "SqsQueueUrl": queue, "Arguments": {}}
    name = bench.create(ask)
    arn = bench.start(name)
    callback = until(lambda: bench.steps(arn).get("Ask", {}).get("Metadata", {}).get("Callback"))
    token = callback["CallbackToken"]

    def allowed(resource: str) -> Any:
        action = "sagemaker:SendPipelineExecutionStepSuccess"
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        return cloud.client("sagemaker", actor([statement]))

    other = arn.replace(arn.rsplit("/", 1)[-1], "aaaaaaaaaaaa")
    with pytest.raises(ClientError, match="AccessDenied"):
        allowed(other).send_pipeline_execution_step_success(CallbackToken=token)
    allowed(arn).send_pipeline_execution_step_success(CallbackToken=token)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
    bench.client.delete_pipeline(PipelineName=name)
    with pytest.raises(ClientError, match="no callback step with the token"):
        bench.client.send_pipeline_execution_step_success(CallbackToken=token)


def test_versions(bench: Bench) -> None:
    first, second = (definition(bench.processing(name, "sleep", "0")) for name in ("First", "Second"))
    name = bench.create(bench.processing("First", "sleep", "0"))
    assert (
        bench.client.update_pipeline(PipelineName=name, PipelineDefinition=second)["PipelineVersionId"] == 2
    )
    assert bench.client.update_pipeline(PipelineName=name, PipelineDescription="d")["PipelineVersionId"] == 2

    arn = bench.client.describe_pipeline(PipelineName=name)["PipelineArn"]
    bench.client.update_pipeline_version(
        PipelineArn=arn, PipelineVersionId=1, PipelineVersionDisplayName="the-first"
    )
    described = bench.client.describe_pipeline(PipelineName=name, PipelineVersionId=1)
    assert (described["PipelineDefinition"], described["PipelineVersionDisplayName"]) == (first, "the-first")
    assert bench.client.describe_pipeline(PipelineName=name)["PipelineDefinition"] == second

    execution = bench.start(name, PipelineVersionId=1)
    assert bench.wait(execution)["PipelineVersionId"] == 1
    assert list(bench.steps(execution)) == ["First"]
    listed = bench.client.list_pipeline_versions(PipelineName=name)["PipelineVersionSummaries"]
    assert [version["PipelineVersionId"] for version in listed] == [2, 1]
    assert listed[1]["LastExecutionPipelineExecutionArn"] == execution
    with pytest.raises(ClientError, match="has no version 3; its newest is 2"):
        bench.start(name, PipelineVersionId=3)


def test_an_execution_is_changed_while_it_runs(bench: Bench) -> None:
    steps = [bench.processing(f"S{number}", "sleep", "600") for number in range(3)]
    arn = bench.start(bench.create(*steps), ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    until(lambda: [step for step in bench.steps(arn).values() if step["StepStatus"] == "Executing"])
    # All that may start at once has started by then.
    assert len(bench.steps(arn)) == 1
    bench.client.update_pipeline_execution(
        PipelineExecutionArn=arn,
        PipelineExecutionDisplayName="wider",
        ParallelismConfiguration={"MaxParallelExecutionSteps": 3},
    )
    until(lambda: len(bench.steps(arn)) == 3)
    assert "EndTime" not in bench.steps(arn)["S0"]
    bench.client.stop_pipeline_execution(PipelineExecutionArn=arn)
    execution = bench.wait(arn)
    assert execution["PipelineExecutionStatus"] == "Stopped"
    assert execution["PipelineExecutionDisplayName"] == "wider"
    assert execution["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 3}
