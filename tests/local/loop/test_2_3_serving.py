"""Enforcement bites what serves: the inference function, the deployer, the endpoint."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.loop import canaries
from tests.local.loop.enforcement import DEPLOYER, ENDPOINT, INFERENCE, invoke, logged, reconcile, refused
from tests.local.loop.story import MODEL, Story, eventually
from tests.local.support import unscaled

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


# The inference function: a person's request is answered, the reason stands in the function's log.


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


def reconcile_anew(story: Story) -> dict[str, Any]:
    """One reconcile that has everything to do, since there is no record."""
    table = story.outputs["RecordTableName"]
    story.administrator.client("dynamodb").delete_item(TableName=table, Key={"group": {"S": MODEL}})
    return reconcile(story)


@pytest.mark.parametrize(
    ("action", "resource", "operation"),
    [
        ("dynamodb:GetItem", "", reconcile_anew),
        ("dynamodb:PutItem", "", reconcile_anew),
        ("kms:Decrypt", "<DeployerRecordsKey>", reconcile_anew),
        ("sagemaker:ListModelPackages", "", reconcile_anew),
        ("sagemaker:DescribeModelPackage", "", reconcile_anew),
        ("s3:GetObject", "/pipelines/", reconcile_anew),
        ("kms:Decrypt", "<DataKey>", reconcile_anew),
        ("s3:PutObject", "", reconcile_anew),
        ("kms:GenerateDataKey", "", reconcile_anew),
        ("s3:GetObject", "/models/multi/", reconcile_anew),
        ("sagemaker:InvokeEndpoint", "", reconcile_anew),
        ("s3:ListBucket", "", reconcile),
    ],
)
def test_deployer(
    story: Story, action: str, resource: str, operation: Callable[[Story], dict[str, Any]]
) -> None:
    # Three looks of the schedule's that fail make a letter, which is not what the next test waits for.
    with canaries.unwatched(story), refused(story, DEPLOYER, action, story.names.written(resource)):
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

    def letters() -> list[dict[str, Any]]:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        events = [json.loads(message["Body"]) for message in received.get("Messages", [])]
        return [event for event in events if event == bad]

    def asked() -> None:
        assert any(d.action == "sqs:SendMessage" for d in story.decisions(since))

    def arrived() -> None:
        assert letters() == [bad]

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
    with refused(story, DEPLOYER, action):
        # Only now: a look of the schedule's may have written until then.
        since = time.time()
        assert not reconcile(story)["error"]
    assert logged(story, "serving/DeployerFunctionLogs", since) == ""

    assert not reconcile(story)["error"]
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
            EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )

    def instances() -> int:
        (variant,) = sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"]
        return int(variant["CurrentInstanceCount"])

    # Requests are few: scaling would take the second instance away, once it has seen so for 15 minutes.
    with unscaled(story.administrator, name):
        with refused(story, ENDPOINT, action):
            scale(2)
        assert instances() == 1

        scale(2)
        assert instances() == 2
        scale(1)


# How it ends is a chapter of its own, once a minute has passed and its requests count.


def test_a_canary_begins_that_refuses_what_callers_send(story: Story) -> None:
    """Its golden rows are right."""
    version = canaries.register_changed(story, 1, canaries.with_another_column)

    story.modelyard(story.approver, "approve", MODEL, str(version), "--canary", "50")

    assert eventually(lambda: canaries.canary_of(story))["version"] == version
