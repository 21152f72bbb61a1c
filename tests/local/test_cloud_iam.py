"""Who gets in, and who does not: signatures, keys, policies, anonymous requests."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

Actor = Callable[[list[dict[str, Any]]], Credentials]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def fetch(cloud: Cloud, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(cloud.endpoint_url + path, headers=headers)
    context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_administrator_is_an_iam_user(cloud: Cloud, admin: Credentials) -> None:
    identity = cloud.client("sts", admin).get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::000000000000:user/administrator"


@pytest.mark.parametrize("key", ["test", "000000000000", "123456789012", "AKIAUNKNOWN000000000"])
@pytest.mark.parametrize(
    ("service", "operation"), [("s3", "list_buckets"), ("iam", "list_users"), ("dynamodb", "list_tables")]
)
def test_no_key_is_root_by_its_name(cloud: Cloud, key: str, service: str, operation: str) -> None:
    client = cloud.client(service, Credentials(access_key_id=key, secret_access_key="test"))
    assert code_of(getattr(client, operation)) in {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }


@pytest.mark.parametrize("service", ["s3", "iam", "sqs", "sagemaker", "application-autoscaling"])
def test_wrong_secret(cloud: Cloud, admin: Credentials, service: str) -> None:
    client = cloud.client(service, replace(admin, secret_access_key="x" * 40))
    operation = {
        "s3": "list_buckets",
        "iam": "list_users",
        "sqs": "list_queues",
        "sagemaker": "list_models",
        "application-autoscaling": "describe_scalable_targets",
    }[service]
    arguments = {"ServiceNamespace": "sagemaker"} if service == "application-autoscaling" else {}
    assert code_of(lambda: getattr(client, operation)(**arguments)) in {
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    }


def test_unsigned_requests_get_nothing(cloud: Cloud, admin: Credentials) -> None:
    s3 = cloud.client("s3", admin)
    s3.create_bucket(Bucket="anonymous-reads")
    s3.put_object(Bucket="anonymous-reads", Key="secret", Body=b"secret")
    status, body = fetch(cloud, "/anonymous-reads/secret")
    assert status == 403
    assert "AccessDenied" in body
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    status, body = fetch(cloud, "/", **headers)
    assert status in {400, 403}
    assert "MissingAuthenticationToken" in body


def test_public_bucket_policy_lets_anybody_read(cloud: Cloud, admin: Credentials) -> None:
    s3 = cloud.client("s3", admin)
    s3.create_bucket(Bucket="public-reads")
    s3.put_object(Bucket="public-reads", Key="open", Body=b"hello")
    s3.delete_public_access_block(Bucket="public-reads")
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
        '"Action":"s3:GetObject","Resource":"arn:aws:s3:::public-reads/*"}]}'
    )
    s3.put_bucket_policy(Bucket="public-reads", Policy=policy)
    assert fetch(cloud, "/public-reads/open") == (200, "hello")


def test_user_without_policy(cloud: Cloud, actor: Actor) -> None:
    nobody = actor([])
    assert code_of(cloud.client("s3", nobody).list_buckets) == "AccessDenied"
    assert code_of(cloud.client("iam", nobody).list_users) == "AccessDenied"
    assert code_of(cloud.client("dynamodb", nobody).list_tables) == "AccessDeniedException"


def test_policy_grants_what_it_says(cloud: Cloud, admin: Credentials, actor: Actor) -> None:
    cloud.client("s3", admin).create_bucket(Bucket="granted")
    writer = actor([{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::granted/in/*"}])
    s3 = cloud.client("s3", writer)
    s3.put_object(Bucket="granted", Key="in/a", Body=b"1")
    assert code_of(lambda: s3.put_object(Bucket="granted", Key="out/a", Body=b"1")) == "AccessDenied"
    assert code_of(lambda: s3.get_object(Bucket="granted", Key="in/a")) == "AccessDenied"


def test_every_decision_is_audited(
    cloud: Cloud, actor: Actor, audit: Callable[[], list[dict[str, Any]]]
) -> None:
    user = actor([{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}])
    name = cloud.client("sts", user).get_caller_identity()["Arn"]
    cloud.client("s3", user).list_buckets()
    code_of(cloud.client("sqs", user).list_queues)
    seen = {(line["action"], line["decision"]) for line in audit() if line["principal"] == name}
    assert {("s3:ListAllMyBuckets", "Allow"), ("sqs:ListQueues", "ImplicitDeny")} <= seen


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config", "/_aws/sqs/messages"])
def test_ministacks_own_levers_are_closed(cloud: Cloud, path: str) -> None:
    assert fetch(cloud, path)[0] == 403
