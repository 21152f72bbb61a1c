"""The inference function as it is deployed, before a real endpoint: a canary that breaks costs no request."""

from __future__ import annotations

import json
import ssl
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Signing
from inference_runtime.settings import Settings
from serving_runtime.aws_metrics import CloudWatchMetrics

from localcloud.context import Cloud, Credentials
from modelyard.archives import function_code

REQUESTS = 24


def deployed(version: int, **members: Any) -> dict[str, Any]:
    texts = {"package_arn": "arn", "artifact": f"{version}-abc.tar.gz", "sha256": "abc", "since": "then"}
    return {"M": {"version": {"N": str(version)}, **{k: {"S": v} for k, v in texts.items()}, **members}}


@pytest.fixture(scope="module")
def model(cloud: Cloud, admin: Credentials, deployer: Any) -> tuple[str, Settings]:
    """A model whose version 3 serves while version 4, its canary, is broken."""
    name = f"loans-{uuid.uuid4().hex[:8]}"
    for version, label in ((3, "sound"), (4, "broken")):
        deployer.workplace.put(f"served/{name}/{version}-abc.tar.gz", deployer.archive(label))
    endpoint = deployer.up(
        deployer.model(name, Mode="MultiModel", ModelDataUrl=deployer.workplace.uri("served/"))
    )
    table = cloud.client("dynamodb", admin)
    table.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"serving": deployed(3), "canary": deployed(4, percent={"N": "50"})}
    for deployment in item.values():
        deployment["M"]["artifact"]["S"] = f"{name}/{deployment['M']['artifact']['S']}"
    table.put_item(TableName=name, Item={"group": {"S": name}, "generation": {"N": "1"}, **item})
    return name, Settings(endpoint_name=endpoint, table_name=name, models=(name,))


@pytest.fixture(scope="module")
def url(cloud: Cloud, admin: Credentials, model: tuple[str, Settings]) -> str:
    name, settings = model
    account, region = cloud.account, cloud.region
    invoke = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": f"arn:aws:sagemaker:{region}:{account}:endpoint/{settings.endpoint_name}",
        "Condition": {"StringLike": {"sagemaker:TargetModel": f"{name}/*.tar.gz"}},
    }
    read = {
        "Effect": "Allow",
        "Action": "dynamodb:GetItem",
        "Resource": f"arn:aws:dynamodb:{region}:{account}:table/{name}",
    }
    logs = {
        "Effect": "Allow",
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": "*",
    }
    iam, lambdas = cloud.client("iam", admin), cloud.client("lambda", admin)
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [invoke, read, logs]})
    iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=policy)
    lambdas.create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.11",
        Handler="modelyard.inference.runtime.handler.handle",
        Code={"ZipFile": function_code("inference")},
        Timeout=settings.timeout_seconds,
        Environment={"Variables": settings.to_environment()},
    )
    answer = lambdas.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    return str(answer["FunctionUrl"])


def ask(cloud: Cloud, caller: Credentials, url: str, content_type: str, body: str) -> dict[str, Any]:
    request = AWSRequest("POST", url, headers={"Content-Type": content_type}, data=body.encode())
    keys = Signing(caller.access_key_id, caller.secret_access_key, caller.session_token)
    SigV4Auth(keys, "lambda", cloud.region).add_auth(request)
    sent = urllib.request.Request(url, data=body.encode(), headers=dict(request.headers), method="POST")
    context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    with urllib.request.urlopen(sent, context=context, timeout=60) as answer:
        return dict(json.loads(answer.read()))


def test_a_broken_canary_costs_no_request_and_is_counted(
    cloud: Cloud, admin: Credentials, model: tuple[str, Settings], url: str
) -> None:
    name, _ = model
    since = datetime.now(UTC)
    rows = json.dumps({"model": name, "instances": [{"fico": 700, "state": None}]})
    for _ in range(REQUESTS // 2):
        answers = [
            ask(cloud, admin, url, "application/json", rows),
            ask(cloud, admin, f"{url}?model={name}", "text/csv", "fico,state\n700,\n"),
        ]
        for answer in answers:
            assert (answer["model"], answer["version"]) == (name, 3)
            assert answer["predictions"] == [["sound", {"fico": 700, "state": None}]]

    def figures(version: int) -> Any:
        metrics = CloudWatchMetrics(cloud.client("cloudwatch", admin))
        times = (since - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1))
        begin, end = (moment.isoformat(timespec="seconds") for moment in times)
        return metrics.figures(name, version, since=begin, until=end)

    serving, canary = figures(3), figures(4)
    assert (serving.requests, serving.errors) == (REQUESTS, 0)
    assert 0 < canary.requests < REQUESTS
    assert canary.errors == canary.requests
    assert 0 < serving.p90_ms < 60_000
