"""What the keys of the inference function open, should somebody get hold of them: what it does, no more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from localcloud import processes
from tests.local.loop.enforcement import INFERENCE
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

FUNCTION = "inference/InferenceFunction"
Ask = Callable[[], Any]


@pytest.fixture
def stolen(story: Story) -> boto3.Session:
    """A session with the keys of the function's own environment."""
    story.predict(story.data.examples[:1])  # starts one
    name = story.names.physical(FUNCTION)
    run = json.loads((story.folder / "state" / "run.json").read_text())["run_id"]
    found = (_environment(process) for process in processes.of_run(run))
    keys = next(environment for environment in found if environment.get("AWS_LAMBDA_FUNCTION_NAME") == name)
    return boto3.Session(
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys["AWS_SESSION_TOKEN"],
        region_name=story.region,
    )


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def invoke(story: Story, session: boto3.Session, endpoint: str, target: str) -> Any:
    return session.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint,
        TargetModel=target,
        ContentType="application/json",
        Body=json.dumps({"instances": story.data.examples[:1]}),
    )


def served(story: Story) -> str:
    """The archive that serves, as callers of the endpoint name it."""
    item = story.administrator.client("dynamodb").get_item(
        TableName=story.outputs["RecordTableName"], Key={"group": {"S": MODEL}}
    )["Item"]
    return str(item["serving"]["M"]["artifact"]["S"])


def attempts(story: Story, session: boto3.Session) -> dict[str, tuple[Ask, str, str]]:
    """What is tried -> how, the action that IAM is asked for, and a part of its resource."""
    bucket, table = story.outputs["DataBucketName"], story.outputs["RecordTableName"]
    endpoint, model = story.outputs["EndpointName"], served(story)
    s3, dynamodb = session.client("s3"), session.client("dynamodb")
    packages = story.administrator.client("s3").list_objects_v2(Bucket=bucket, Prefix="pipelines/")
    artifact = packages["Contents"][0]["Key"]
    item = {"group": {"S": MODEL}, "generation": {"N": "10000"}}
    return {
        "another prefix": (
            lambda: invoke(story, session, endpoint, "elsewhere/1.tar.gz"),
            "sagemaker:InvokeEndpoint",
            f"endpoint/{endpoint}",
        ),
        "what is not an archive of a group": (
            lambda: invoke(story, session, endpoint, f"{MODEL}-2/1.tar.gz"),
            "sagemaker:InvokeEndpoint",
            f"endpoint/{endpoint}",
        ),
        "another endpoint": (
            lambda: invoke(story, session, "another", model),
            "sagemaker:InvokeEndpoint",
            "endpoint/another",
        ),
        "a served model's archive": (
            lambda: s3.get_object(Bucket=bucket, Key=f"models/multi/{model}"),
            "s3:GetObject",
            "/models/multi/",
        ),
        "what pipelines leave": (
            lambda: s3.get_object(Bucket=bucket, Key=artifact),
            "s3:GetObject",
            "/pipelines/",
        ),
        "a list of the bucket": (lambda: s3.list_objects_v2(Bucket=bucket), "s3:ListBucket", bucket),
        "a changed record": (
            lambda: dynamodb.put_item(TableName=table, Item=item),
            "dynamodb:PutItem",
            f"table/{table}",
        ),
    }


def test_keys_of_the_function_open_only_what_it_uses(story: Story, stolen: boto3.Session) -> None:
    assert invoke(story, stolen, story.outputs["EndpointName"], served(story))["Body"].read()

    role = story.names.role(INFERENCE)
    for tried, (ask, action, resource) in attempts(story, stolen).items():
        since = time.time() - 0.001
        with pytest.raises(ClientError) as refusal:
            ask()
        code = refusal.value.response["Error"]["Code"]
        assert code in ("AccessDenied", "AccessDeniedException"), (tried, refusal.value)
        denials = [each for each in story.decisions(since) if not each.allowed]
        assert {(each.role, each.action, each.decision) for each in denials} == {
            (role, action, "ImplicitDeny")
        }, (tried, denials)
        assert all(resource in each.resource for each in denials), (tried, denials)

    assert story.predict(story.data.examples[:1])["model"] == MODEL
