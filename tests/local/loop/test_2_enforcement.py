"""Enforcement bites: without one permission, the call that needs it is denied; with it back, all is well.

For every role of the stacks, and for every service that the role uses, one action is taken out of its live
policy, and the smallest operation of the loop that needs it is run. IAM must refuse exactly that action to
exactly that role, and whoever waits for the operation must learn of it.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from modelyard_cli import registry
from modelyard_cli.demo import phases
from modelyard_cli.errors import CliError
from modelyard_cli.executions import start, watch
from modelyard_cli.predict import invoke as invoke_url
from pipeline_defs.catalog import PIPELINES
from tests.local.loop.custom_resource import send
from tests.local.loop.grants import without
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(300)]

DATA_SCIENTIST = "access/DataScientist"
MODEL_APPROVER = "access/ModelApprover"
INFERENCE = "inference/InferenceFunctionRole"
DEPLOYER = "serving/DeployerFunctionRole"
ENDPOINT = "serving/EndpointRole"
EXECUTION = "pipelines/RefinanceInterestRatePipelineExecutionRole"
PROVIDER = "pipelines/PipelineProviderFunctionRole"
GROUP_EMPTIER = "pipelines/RegistryEmptierFunctionRole"
BUCKET_EMPTIER = "data/BucketEmptierFunctionRole"
PIPELINE = "Custom::SageMakerPipeline"
GROUP_EMPTYING = "Custom::ModelPackageGroupEmptying"
BUCKET_EMPTYING = "Custom::BucketEmptying"  # its last one is of the data bucket


@contextlib.contextmanager
def refused(story: Story, role: str, action: str, resource: str = "") -> Iterator[None]:
    """Without the action; at the end IAM must have refused it to the role, and nothing else to anybody."""
    since = time.time() - 0.001
    physical = story.names.role(role)
    with without(story.administrator, physical, action, resource):
        yield
        denials = [decision for decision in story.decisions(since) if not decision.allowed]
    seen = {(denial.role, denial.action, denial.decision) for denial in denials}
    assert seen == {(physical, action, "ImplicitDeny")}, denials
    assert all(resource in denial.resource for denial in denials)


# People: every call is the person's own, and so is the answer.


def upload(story: Story) -> Any:
    return phases.upload(story.scientist, story.outputs, story.data)


def start_a_run(story: Story) -> str:
    values = phases.upload(story.scientist, story.outputs, story.data)
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    return start(story.scientist.client("sagemaker"), MODEL, parameters)


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


# The inference function: a person's request is answered, the reason stands in the function's log.


def invoke(story: Story, name: str, event: dict[str, Any], *, cold: bool = False) -> dict[str, Any]:
    """Invoke a function; cold in a new environment, which remembers nothing."""
    lambda_, function = story.administrator.client("lambda"), story.names.physical(name)
    variables = lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]

    def set_variables(changed: dict[str, str]) -> None:
        lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": changed})

    if cold:
        # A changed variable gives a function new environments.
        set_variables(variables | {"COLD_START": str(uuid.uuid4())})
    try:
        answer = lambda_.invoke(FunctionName=function, Payload=json.dumps(event))
    finally:
        if cold:
            set_variables(variables)
    return {"error": "FunctionError" in answer, "payload": answer["Payload"].read().decode()}


def request(story: Story) -> dict[str, Any]:
    """What a function URL hands over."""
    body = {"model": MODEL, "instances": story.data.examples[:1]}
    http = {"method": "POST", "path": "/"}
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": http},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def logged(story: Story, name: str, since: float) -> str:
    """What a function has logged since."""
    logs = story.administrator.client("logs")
    group = story.names.physical(name)
    found = logs.filter_log_events(logGroupName=group, startTime=int(since * 1000))["events"]
    return "\n".join(event["message"] for event in found)


@pytest.mark.parametrize(
    ("action", "code"),
    [
        # The function remembers what it has looked up, for seconds, and longer while it cannot look again.
        ("dynamodb:GetItem", "not_ready"),
        ("kms:Decrypt", "not_ready"),
        ("sagemaker:InvokeEndpoint", "endpoint_unavailable"),
    ],
)
def test_inference_function(story: Story, action: str, code: str) -> None:
    since = time.time()
    with refused(story, INFERENCE, action):
        cold = invoke(story, "inference/InferenceFunction", request(story), cold=True)
    answer = json.loads(cold["payload"])
    assert (answer["statusCode"], json.loads(answer["body"])["error"]["code"]) == (503, code)
    log = logged(story, "inference/InferenceFunctionLogs", since)
    assert "AccessDenied" in log
    assert f"not authorized to perform: {action}" in log

    healed = invoke(story, "inference/InferenceFunction", request(story))
    assert json.loads(healed["payload"])["statusCode"] == 200, healed


# The deployer: it works on events, and tells its caller why a version is not served.


def reconcile(story: Story) -> dict[str, Any]:
    """One reconcile that has everything to do, since there is no record."""
    table = story.outputs["RecordTableName"]
    story.administrator.client("dynamodb").delete_item(TableName=table, Key={"group": {"S": MODEL}})
    return invoke(story, "serving/DeployerFunction", {"group": MODEL})


def reconcile_again(story: Story) -> dict[str, Any]:
    """One reconcile that finds everything in place."""
    return invoke(story, "serving/DeployerFunction", {"group": MODEL})


@pytest.mark.parametrize(
    ("action", "resource", "operation"),
    [
        ("dynamodb:GetItem", "", reconcile),
        ("dynamodb:PutItem", "", reconcile),
        ("kms:Decrypt", "<DeployerRecordsKey>", reconcile),
        ("sagemaker:ListModelPackages", "", reconcile),
        ("sagemaker:DescribeModelPackage", "", reconcile),
        ("s3:GetObject", "/pipelines/", reconcile),
        ("kms:Decrypt", "<DataKey>", reconcile),
        ("s3:PutObject", "", reconcile),
        ("kms:GenerateDataKey", "", reconcile),
        ("s3:GetObject", "/models/multi/", reconcile),
        ("sagemaker:InvokeEndpoint", "", reconcile),
        ("s3:ListBucket", "", reconcile_again),
    ],
)
def test_deployer(
    story: Story, action: str, resource: str, operation: Callable[[Story], dict[str, Any]]
) -> None:
    with refused(story, DEPLOYER, action, story.names.written(resource)):
        answer = operation(story)
    assert answer["error"], answer
    assert f"not authorized to perform: {action}" in answer["payload"] or "Access Denied" in answer["payload"]

    answer = operation(story)
    assert json.loads(answer["payload"]) == {"serving": {MODEL: 1}}


@pytest.fixture
def _no_retries(story: Story) -> Iterator[None]:
    """An event that fails has failed for good, at once."""
    lambda_ = story.administrator.client("lambda")
    function = {"FunctionName": story.names.physical("serving/DeployerFunction"), "Qualifier": "$LATEST"}
    known = lambda_.get_function_event_invoke_config(**function)
    deployed = {name: known[name] for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")}
    lambda_.put_function_event_invoke_config(**function, **{**deployed, "MaximumRetryAttempts": 0})
    yield
    lambda_.put_function_event_invoke_config(**function, **deployed)


@pytest.mark.usefixtures("_no_retries")
def test_deployer_hands_on_what_failed_for_good(story: Story) -> None:
    sqs, queue = story.administrator.client("sqs"), story.names.physical("serving/DeployerDeadLetters")
    bad = {"group": f"no-such-group-{uuid.uuid4()}"}

    def fail() -> None:
        story.administrator.client("lambda").invoke(
            FunctionName=story.names.physical("serving/DeployerFunction"),
            InvocationType="Event",
            Payload=json.dumps(bad),
        )

    def letters() -> list[str]:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [message["Body"] for message in received.get("Messages", [])]

    def asked() -> None:
        assert any(d.action == "sqs:SendMessage" for d in story.decisions(since))

    def arrived() -> None:
        assert [json.loads(letter) for letter in letters()] == [bad]

    since = time.time()
    with refused(story, DEPLOYER, "sqs:SendMessage"):
        fail()
        eventually(asked)
    assert letters() == []

    fail()
    eventually(arrived)


# Logs: a function without them runs on; they are what is missing.


@pytest.mark.parametrize("action", ["logs:CreateLogStream", "logs:PutLogEvents"])
def test_a_function_that_may_not_write_logs_has_none(story: Story, action: str) -> None:
    since = time.time()
    with refused(story, DEPLOYER, action):
        assert not reconcile_again(story)["error"]
    assert logged(story, "serving/DeployerFunctionLogs", since) == ""

    assert not reconcile_again(story)["error"]
    assert "reconciled" in logged(story, "serving/DeployerFunctionLogs", since)


# The endpoint: its role loads models when they are first asked for, and starts instances.


@pytest.mark.parametrize("action", ["s3:GetObject", "kms:Decrypt"])
def test_endpoint_loads_a_cold_model(story: Story, action: str) -> None:
    bucket, s3 = story.outputs["DataBucketName"], story.administrator.client("s3")
    (served, *_) = s3.list_objects_v2(Bucket=bucket, Prefix=f"models/multi/{MODEL}/1-")["Contents"]
    cold = f"{MODEL}/cold-{uuid.uuid4().hex[:12]}.tar.gz"
    s3.copy_object(
        Bucket=bucket, Key=f"models/multi/{cold}", CopySource={"Bucket": bucket, "Key": served["Key"]}
    )

    def ask() -> Any:
        return story.administrator.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=story.outputs["EndpointName"],
            TargetModel=cold,
            ContentType="application/json",
            Body=json.dumps({"instances": story.data.examples[:1]}),
        )

    with (
        refused(story, ENDPOINT, action),
        pytest.raises(ClientError, match=r"[Aa]ccess|authorized|permission"),
    ):
        ask()

    assert len(json.loads(ask()["Body"].read())["predictions"]) == 1
    s3.delete_object(Bucket=bucket, Key=f"models/multi/{cold}")


@pytest.mark.parametrize("action", ["ecr:BatchGetImage", "ecr:GetAuthorizationToken"])
def test_endpoint_pulls_its_image(story: Story, action: str) -> None:
    sagemaker, name = story.administrator.client("sagemaker"), story.outputs["EndpointName"]

    def scale(instances: int) -> None:
        weights = [{"VariantName": "AllTraffic", "DesiredInstanceCount": instances}]
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name, DesiredWeightsAndCapacities=weights
        )
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def instances() -> int:
        (variant,) = sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"]
        return int(variant["CurrentInstanceCount"])

    with refused(story, ENDPOINT, action):
        scale(2)
    assert instances() == 1

    scale(2)
    assert instances() == 2
    scale(1)


# The pipeline: the step that needs the permission fails, with the reason that SageMaker gives.

# Steps of which no run before had the input: the cache does not answer them, and never what has failed.
FRESH = ("ValidateData", "PreprocessData", "TrainModel")


def start_afresh(story: Story) -> str:
    """Start an execution for which the cache has nothing."""
    bucket, key = story.outputs["DataBucketName"], f"raw/refinance/{uuid.uuid4()}.csv"
    values = phases.upload(story.scientist, story.outputs, story.data) | {"InputData": f"s3://{bucket}/{key}"}
    story.scientist.client("s3").upload_file(str(story.data.table), bucket, key)
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    return start(story.scientist.client("sagemaker"), MODEL, parameters)


def run_to(story: Story, step: str) -> dict[str, Any]:
    if step not in FRESH:
        return story.run()
    bucket, key = story.outputs["DataBucketName"], "raw/refinance/again.csv"
    story.scientist.client("s3").upload_file(str(story.data.table), bucket, key)
    return story.run(InputData=f"s3://{bucket}/{key}")


@pytest.mark.parametrize(
    ("action", "resource", "step"),
    [
        ("sagemaker:CreateProcessingJob", "", "ValidateData"),
        ("sagemaker:AddTags", "processing-job", "ValidateData"),
        ("iam:PassRole", "", "ValidateData"),
        ("sagemaker:DescribeProcessingJob", "", "ValidateData"),
        ("ecr:GetAuthorizationToken", "", "ValidateData"),
        ("ecr:BatchCheckLayerAvailability", "", "ValidateData"),
        ("ecr:BatchGetImage", "", "ValidateData"),
        ("ecr:GetDownloadUrlForLayer", "", "ValidateData"),
        ("s3:ListBucket", "data", "ValidateData"),
        ("s3:GetObject", "/raw/", "ValidateData"),
        ("s3:GetObject", "cdk-hnb659fds-assets", "ValidateData"),
        ("s3:ListBucket", "cdk-hnb659fds-assets", "ValidateData"),
        ("kms:Decrypt", "", "ValidateData"),
        ("s3:PutObject", "", "ValidateData"),
        ("kms:GenerateDataKey", "", "ValidateData"),
        ("sagemaker:CreateTrainingJob", "", "TrainModel"),
        ("sagemaker:DescribeTrainingJob", "", "TrainModel"),
        ("sagemaker:CreateModelPackage", "", "RegisterModel"),
        ("sagemaker:DescribeModelPackage", "", "RegisterModel"),
        ("sagemaker:CreateModel", "", "CreateModel"),
        ("sagemaker:CreateTransformJob", "", "BatchTransform"),
        ("sagemaker:DescribeTransformJob", "", "BatchTransform"),
        ("s3:GetObject", "/batch/", "BatchTransform"),
    ],
)
def test_pipeline(story: Story, action: str, resource: str, step: str) -> None:
    with refused(story, EXECUTION, action, resource):
        execution = run_to(story, step)

    assert execution["status"] == "Failed", execution
    failed = {entry["name"]: entry["detail"] for entry in execution["steps"] if entry["status"] == "Failed"}
    assert list(failed) == [step]
    assert "AccessDenied" in failed[step] or "not authorized" in failed[step] or "403" in failed[step], failed


def test_pipeline_runs_again_with_all_it_needs(story: Story) -> None:
    execution = run_to(story, "TrainModel")

    assert execution["status"] == "Succeeded", execution
    cached = {step["name"] for step in execution["steps"] if step["detail"] == "from cache"}
    assert "TrainModel" not in cached


@pytest.mark.parametrize(
    ("step", "action"),
    [
        ("PreprocessData", "sagemaker:StopProcessingJob"),
        ("TrainModel", "sagemaker:StopTrainingJob"),
        ("BatchTransform", "sagemaker:StopTransformJob"),
    ],
)
def test_pipeline_stops_its_jobs(story: Story, step: str, action: str) -> None:
    sagemaker = story.scientist.client("sagemaker")
    arn = start_afresh(story) if step in FRESH else start_a_run(story)
    with refused(story, DATA_SCIENTIST, "sagemaker:StopPipelineExecution"), pytest.raises(ClientError):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)

    def runs() -> bool:
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return (step, "Executing") in [(entry["StepName"], entry["StepStatus"]) for entry in steps]

    def stopped() -> None:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        assert described["PipelineExecutionStatus"] == "Stopped"

    # Jobs last a second or so: look often.
    deadline = time.monotonic() + 60
    while not runs():
        assert time.monotonic() < deadline, f"{step} never ran"
        time.sleep(0.02)
    since = time.time()
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    eventually(stopped)

    decisions = [d for d in story.decisions(since) if d.role == story.names.role(EXECUTION)]
    assert action in [decision.action for decision in decisions if decision.allowed]


# Custom resources: the function's answer reaches CloudFormation, also where it lacks a permission.


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        ("s3:GetObject", {}),
        ("sagemaker:DescribePipeline", {}),
        ("sagemaker:ListTags", {}),
        ("sagemaker:AddTags", {"Tags": {"team": "lending"}}),
        ("sagemaker:UpdatePipeline", {"Description": "changed"}),
        ("iam:PassRole", {"Description": "changed again"}),
    ],
)
def test_pipeline_provider(story: Story, action: str, changed: dict[str, Any]) -> None:
    with refused(story, PROVIDER, action):
        answer = send(story, "pipelines", PIPELINE, "Update", **changed)
    assert answer["Status"] == "FAILED", answer
    assert f"not authorized to perform: {action}" in answer["Reason"] or "Access Denied" in answer["Reason"]

    assert send(story, "pipelines", PIPELINE, "Update", **changed)["Status"] == "SUCCESS"


def test_pipeline_provider_takes_tags_back(story: Story) -> None:
    send(story, "pipelines", PIPELINE, "Update", Tags={"team": "lending"})
    with refused(story, PROVIDER, "sagemaker:DeleteTags"):
        answer = send(story, "pipelines", PIPELINE, "Update", before={"Tags": {"team": "lending"}})
    assert answer["Status"] == "FAILED", answer

    assert send(story, "pipelines", PIPELINE, "Update", before={"Tags": {"team": "lending"}})["Status"] == (
        "SUCCESS"
    )


def test_pipeline_provider_deletes_a_pipeline_that_runs(story: Story) -> None:
    sagemaker = story.administrator.client("sagemaker")
    running = start_afresh(story)
    for action in (
        "sagemaker:ListPipelineExecutions", "sagemaker:StopPipelineExecution", "sagemaker:DeletePipeline"
    ):  # fmt: skip
        with refused(story, PROVIDER, action):
            answer = send(story, "pipelines", PIPELINE, "Delete")
        assert answer["Status"] == "FAILED", answer
        assert f"not authorized to perform: {action}" in answer["Reason"]
        assert sagemaker.describe_pipeline(PipelineName=MODEL)["PipelineStatus"] == "Active"
    stopped = sagemaker.describe_pipeline_execution(PipelineExecutionArn=running)
    assert stopped["PipelineExecutionStatus"] == "Stopped"

    assert send(story, "pipelines", PIPELINE, "Delete")["Status"] == "SUCCESS"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_pipeline(PipelineName=MODEL)
    assert send(story, "pipelines", PIPELINE, "Create")["Status"] == "SUCCESS"
    assert sagemaker.describe_pipeline(PipelineName=MODEL)["PipelineStatus"] == "Active"


@pytest.mark.parametrize(
    ("role", "stack", "kind", "action"),
    [
        (GROUP_EMPTIER, "pipelines", GROUP_EMPTYING, "sagemaker:ListModelPackages"),
        (GROUP_EMPTIER, "pipelines", GROUP_EMPTYING, "sagemaker:DeleteModelPackage"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:ListBucketVersions"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:DeleteObjectVersion"),
        (BUCKET_EMPTIER, "data", BUCKET_EMPTYING, "s3:DeleteObject"),
    ],
)
def test_emptiers(story: Story, role: str, stack: str, kind: str, action: str) -> None:
    # That all is well with the permission is the last chapter: the stacks are destroyed.
    with refused(story, role, action):
        answer = send(story, stack, kind, "Delete")
    assert answer["Status"] == "FAILED", answer
    assert "AccessDenied" in answer["Reason"] or f"not authorized to perform: {action}" in answer["Reason"]


def test_every_role_of_the_stacks_was_tried(story: Story) -> None:
    # The roles of the other pipelines are like that of the one that the loop runs.
    others = {
        f"pipelines/{spec.name.title().replace('-', '')}PipelineExecutionRole" for spec in PIPELINES
    } - {EXECUTION}
    assert set(story.names.roles.values()) - others == {
        DATA_SCIENTIST, MODEL_APPROVER, INFERENCE, DEPLOYER, ENDPOINT, EXECUTION, PROVIDER, GROUP_EMPTIER,
        BUCKET_EMPTIER,
    }  # fmt: skip
