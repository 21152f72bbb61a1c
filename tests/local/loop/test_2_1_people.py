"""Enforcement bites people: every call is the person's own, and so is the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from modelyard_cli import registry
from modelyard_cli.aws import stack_outputs
from modelyard_cli.demo import phases
from modelyard_cli.errors import CliError
from modelyard_cli.executions import watch
from modelyard_cli.predict import invoke as invoke_url
from tests.local.loop.enforcement import DATA_SCIENTIST, MODEL_APPROVER, refused, start_a_run
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


def upload(story: Story) -> Any:
    return phases.upload(story.scientist, story.outputs, story.data)


def watch_a_run(story: Story) -> Any:
    sagemaker = story.scientist.client("sagemaker")
    newest = story.administrator.client("sagemaker").list_pipeline_executions(PipelineName=MODEL)
    return list(watch(sagemaker, newest["PipelineExecutionSummaries"][0]["PipelineExecutionArn"], 0.3))


def approve(story: Story) -> Any:
    return registry.decide(story.approver.client("sagemaker"), MODEL, 1, "Approved", None)


def predict(story: Story) -> Any:
    return story.predict(story.data.examples[:1])


def report(story: Story) -> Any:
    return phases.metrics(story.scientist)


def report_to_approver(story: Story) -> Any:
    return phases.metrics(story.approver)


@pytest.mark.parametrize(
    ("role", "action", "operation"),
    [
        (DATA_SCIENTIST, "s3:PutObject", upload),
        (DATA_SCIENTIST, "kms:GenerateDataKey", upload),
        (DATA_SCIENTIST, "sagemaker:StartPipelineExecution", start_a_run),
        (DATA_SCIENTIST, "sagemaker:DescribePipelineDefinitionForExecution", watch_a_run),
        (DATA_SCIENTIST, "sagemaker:DescribePipelineExecution", watch_a_run),
        (DATA_SCIENTIST, "sagemaker:ListPipelineExecutionSteps", watch_a_run),
        (DATA_SCIENTIST, "sagemaker:ListModelPackages", report),
        (DATA_SCIENTIST, "sagemaker:DescribeModelPackage", report),
        (DATA_SCIENTIST, "s3:GetObject", report),
        (DATA_SCIENTIST, "kms:Decrypt", report),
        (DATA_SCIENTIST, "lambda:InvokeFunctionUrl", predict),
        (DATA_SCIENTIST, "lambda:InvokeFunction", predict),
        (MODEL_APPROVER, "sagemaker:ListModelPackages", report_to_approver),
        (MODEL_APPROVER, "sagemaker:DescribeModelPackage", report_to_approver),
        (MODEL_APPROVER, "s3:GetObject", report_to_approver),
        (MODEL_APPROVER, "kms:Decrypt", report_to_approver),
        (MODEL_APPROVER, "sagemaker:UpdateModelPackage", approve),
    ],
)
def test_people(story: Story, role: str, action: str, operation: Callable[[Story], Any]) -> None:
    with (
        refused(story, role, action),
        pytest.raises((ClientError, CliError, S3UploadFailedError), match=r"AccessDenied|not authorized|403"),
    ):
        operation(story)

    operation(story)


@pytest.mark.parametrize("person", ["scientist", "approver"])
def test_people_look_around(story: Story, person: str) -> None:
    run = start_a_run(story)
    session = getattr(story, person)

    def sagemaker(*arguments: str) -> Any:
        return story.aws(session, "sagemaker", *arguments)

    assert sagemaker("describe-pipeline", "--pipeline-name", MODEL)["PipelineStatus"] == "Active"
    executions = sagemaker("list-pipeline-executions", "--pipeline-name", MODEL)
    assert run in [summary["PipelineExecutionArn"] for summary in executions["PipelineExecutionSummaries"]]
    parameters = sagemaker("list-pipeline-parameters-for-execution", "--pipeline-execution-arn", run)
    assert "InputData" in [parameter["Name"] for parameter in parameters["PipelineParameters"]]
    *_, final = watch(session.client("sagemaker"), run, 0.3)
    assert final.status == "Succeeded"


PEOPLE = [("scientist", DATA_SCIENTIST), ("approver", MODEL_APPROVER)]


@pytest.mark.parametrize("person", ["scientist", "approver"])
def test_people_see_what_is_served(story: Story, person: str) -> None:
    def look() -> None:
        shown = story.modelyard(getattr(story, person), "models")
        assert shown == story.modelyard(story.administrator, "models")
        (row,) = [row for row in shown if row["group"] == MODEL]
        assert row["serving"] == story.predict(story.data.examples[:1])["version"]

    # Callers follow what was approved before within seconds.
    eventually(look)


@pytest.mark.parametrize(("person", "role"), PEOPLE)
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("cloudformation:DescribeStacks", "modelyard-local-serving"),
        ("sagemaker:ListModelPackages", ""),
        ("sagemaker:DescribeModelPackage", ""),
        ("dynamodb:GetItem", ""),
        ("kms:Decrypt", "<DeployerRecordsKey>"),
    ],
)
def test_what_people_need_to_see_it(story: Story, person: str, role: str, action: str, resource: str) -> None:
    with (
        refused(story, role, action, story.names.written(resource)),
        pytest.raises(AssertionError, match=f"modelyard: .*not authorized to perform: {action}"),
    ):
        story.modelyard(getattr(story, person), "models", MODEL)


def folders(story: Story) -> list[str]:
    return stack_outputs(story.scientist.client("cloudformation"), "data", "DataBucketName", "ImageFolder")


def predict_by_command(story: Story) -> Any:
    rows = story.folder / "rows.json"
    rows.write_text(json.dumps(story.data.examples[:1]))
    return story.modelyard(story.scientist, "predict", MODEL, str(rows))


@pytest.mark.parametrize(("part", "operation"), [("data", folders), ("inference", predict_by_command)])
def test_data_scientist_finds_what_is_deployed(
    story: Story, part: str, operation: Callable[[Story], Any]
) -> None:
    with (
        refused(story, DATA_SCIENTIST, "cloudformation:DescribeStacks", f"modelyard-local-{part}"),
        pytest.raises((ClientError, AssertionError), match="not authorized to perform: cloudformation:"),
    ):
        operation(story)

    assert operation(story)


@pytest.mark.parametrize("person", ["scientist", "approver"])
def test_the_deployer_is_called_by_administrators_only(story: Story, person: str) -> None:
    session, function = getattr(story, person), story.names.physical("serving/DeployerFunction")
    with pytest.raises(AssertionError, match=r"modelyard: DescribeStackResources: .*not authorized"):
        story.modelyard(session, "reconcile", MODEL)
    with pytest.raises(ClientError, match="not authorized to perform: lambda:InvokeFunction"):
        session.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"group": MODEL}))

    serving = story.modelyard(story.administrator, "reconcile", MODEL)["serving"]
    (row,) = story.modelyard(session, "models", MODEL)
    assert row["serving"] == serving


def test_data_scientist_sees_what_a_run_made(story: Story) -> None:
    bucket, prefix = story.outputs["DataBucketName"], f"pipelines/{MODEL}/"
    outputs = story.aws(story.scientist, "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", prefix)
    assert outputs["Contents"]


def test_who_runs_pipelines_does_not_approve(story: Story) -> None:
    sagemaker = story.scientist.client("sagemaker")
    with pytest.raises((ClientError, CliError), match=r"AccessDenied|not authorized"):
        registry.decide(sagemaker, MODEL, 1, "Rejected", None)
    # Nor through the pipeline, whose own role registers nothing as approved.
    execution = story.run(ModelApprovalStatus="Approved")
    failed = {step["name"]: step["detail"] for step in execution["steps"] if step["status"] == "Failed"}
    assert list(failed) == ["RegisterModel"], execution
    assert "sagemaker:CreateModelPackage" in failed["RegisterModel"]


def test_who_approves_runs_and_changes_nothing(story: Story) -> None:
    bucket, person = story.outputs["DataBucketName"], story.approver
    attempts: list[Callable[[], Any]] = [
        lambda: person.client("s3").put_object(Bucket=bucket, Key=f"pipelines/{MODEL}/x", Body=b"x"),
        lambda: person.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"pipelines/{MODEL}/"),
        lambda: person.client("s3").get_object(
            Bucket=bucket, Key=f"pipelines/{MODEL}/x/PreprocessData/train.csv"
        ),
        lambda: person.client("sagemaker").start_pipeline_execution(PipelineName=MODEL),
        lambda: invoke_url(story.outputs["FunctionUrl"], MODEL, story.data.examples[:1], person),
    ]
    for attempt in attempts:
        with pytest.raises((ClientError, CliError), match=r"AccessDenied|not authorized|403"):
            attempt()


@pytest.mark.parametrize("key", ["raw/refinance/large.csv", "batch/refinance-interest-rate/large.jsonl"])
def test_data_scientist_gives_up_a_large_upload(story: Story, key: str) -> None:
    bucket, s3 = story.outputs["DataBucketName"], story.scientist.client("s3")
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    with (
        refused(story, DATA_SCIENTIST, "s3:AbortMultipartUpload"),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)

    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    assert not story.administrator.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")
