"""Who gets in, and who does not: signatures, keys, policies, anonymous requests."""

from __future__ import annotations

import json
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
        with urllib.request.urlopen(request, context=context, timeout=120) as answer:
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


LEVERS = [
    "/_ministack/reset", "/_ministack/config", "/_ministack/", "/_ministack/sqs/messages",
    "/_ministack/ses/messages", "/_ministack/sns/sms-messages", "/_ministack/transfer/sftp-ports",
    "/_ministack/rds/iam-auth", "/_ministack/rds/ca.pem", "/_ministack/eks-auth/0/a/b/c",
    "/_ministack/lambda-code/000000000000/us-east-1/any", "/_ministack/lambda-layers/any/1/content",
    "/_localstack/init", "/_aws/sqs/messages", "/_aws/ses", "/_aws/sns",
]  # fmt: skip


@pytest.mark.parametrize("path", LEVERS)
def test_ministacks_own_levers_are_closed(cloud: Cloud, path: str) -> None:
    assert fetch(cloud, path)[0] == 403


def test_health_is_open(cloud: Cloud) -> None:
    assert fetch(cloud, "/_ministack/health")[0] == 200


def test_a_stack_operation_needs_a_role_that_it_may_pass(
    cloud: Cloud, admin: Credentials, actor: Actor, role: Callable[[str, list[dict[str, Any]]], str]
) -> None:
    queue = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    execution = role("cloudformation.amazonaws.com", [])
    stacks = {"Effect": "Allow", "Action": "cloudformation:*", "Resource": "*"}
    without = cloud.client("cloudformation", actor([stacks]))
    body = json.dumps(queue)
    changes = {"ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": body, "RoleARN": execution}
    cloud.client("cloudformation", admin).create_stack(StackName="roles-kept", TemplateBody=body)
    for call in (
        lambda: without.create_stack(StackName="roles", TemplateBody=body, RoleARN=execution),
        lambda: without.create_change_set(StackName="roles", **changes),
        lambda: without.update_stack(StackName="roles-kept", TemplateBody=body, RoleARN=execution),
        lambda: without.delete_stack(StackName="roles-kept", RoleARN=execution),
    ):
        assert code_of(call) == "AccessDenied"
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": execution,
        "Condition": {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
    }
    with_role = cloud.client("cloudformation", actor([stacks, passing]))
    with_role.create_stack(StackName="roles", TemplateBody=body, RoleARN=execution)
    client = cloud.client("cloudformation", admin)
    gone = execution + "-gone"
    for refused in (gone, role("sagemaker.amazonaws.com", [])):
        with pytest.raises(ClientError, match="is invalid or cannot be assumed") as caught:
            client.create_stack(StackName="roles-2", TemplateBody=body, RoleARN=refused)
        assert caught.value.response["Error"]["Code"] == "ValidationError"


class TestPolicyVariables:
    """`${...}` in resources and conditions, for grants and for denials."""

    @pytest.fixture(scope="class", autouse=True)
    def bucket(self, cloud: Cloud, admin: Credentials) -> None:
        cloud.client("s3", admin).create_bucket(Bucket="variables")

    @staticmethod
    def may(cloud: Cloud, user: Credentials, key: str) -> bool:
        s3 = cloud.client("s3", user)
        try:
            s3.put_object(Bucket="variables", Key=key, Body=b"")
        except s3.exceptions.ClientError as error:
            return error.response["Error"]["Code"] != "AccessDenied"
        return True

    @staticmethod
    def statement(effect: str, resource: str, **more: Any) -> dict[str, Any]:
        arn = f"arn:aws:s3:::variables/{resource}"
        return {"Effect": effect, "Action": "s3:PutObject", "Resource": arn, **more}

    def name(self, cloud: Cloud, user: Credentials) -> str:
        arn: str = cloud.client("sts", user).get_caller_identity()["Arn"]
        return arn.rpartition("/")[2]

    def test_a_grant_on_the_users_own_folder(self, cloud: Cloud, actor: Actor) -> None:
        user = actor([self.statement("Allow", "home/${aws:username}/*")])
        assert self.may(cloud, user, f"home/{self.name(cloud, user)}/a")
        assert not self.may(cloud, user, "home/somebody/a")
        assert not self.may(cloud, user, "home/${aws:username}/a")

    def test_a_denial_of_the_users_own_folder(self, cloud: Cloud, actor: Actor) -> None:
        user = actor([self.statement("Allow", "*"), self.statement("Deny", "home/${aws:username}/*")])
        assert not self.may(cloud, user, f"home/{self.name(cloud, user)}/a")
        assert self.may(cloud, user, "home/somebody/a")

    def test_what_nobody_can_resolve_denies_and_never_grants(self, cloud: Cloud, actor: Actor) -> None:
        assert not self.may(cloud, actor([self.statement("Allow", "${aws:PrincipalTag/team}/*")]), "a/b")
        user = actor([self.statement("Allow", "*"), self.statement("Deny", "${aws:PrincipalTag/team}/*")])
        assert not self.may(cloud, user, "a/b")
        assert self.may(cloud, user, "a")
        condition = {"StringEquals": {"aws:PrincipalAccount": "${aws:PrincipalTag/account}"}}
        user = actor([self.statement("Allow", "*"), self.statement("Deny", "*", Condition=condition)])
        assert not self.may(cloud, user, "a")
        assert not self.may(cloud, actor([self.statement("Allow", "*", Condition=condition)]), "a")

    def test_a_default_stands_in(self, cloud: Cloud, actor: Actor) -> None:
        user = actor([self.statement("Allow", "${aws:PrincipalTag/team, 'nobody'}/*")])
        assert self.may(cloud, user, "nobody/a")
        assert not self.may(cloud, user, "somebody/a")

    def test_wildcards_of_a_value_are_no_wildcards(
        self, cloud: Cloud, admin: Credentials, actor: Actor
    ) -> None:
        user = actor([self.statement("Allow", "${*}/${aws:PrincipalTag/team, '*'}/*")])
        assert self.may(cloud, user, "*/*/a")
        assert not self.may(cloud, user, "x/*/a")
        assert not self.may(cloud, user, "*/x/a")

    def test_in_a_condition(self, cloud: Cloud, actor: Actor) -> None:
        same = {"StringEquals": {"aws:userid": "${aws:userid}"}}
        other = {"StringNotEquals": {"aws:PrincipalAccount": "${aws:PrincipalAccount}"}}
        assert self.may(cloud, actor([self.statement("Allow", "*", Condition=same)]), "a")
        user = actor([self.statement("Allow", "*"), self.statement("Deny", "*", Condition=other)])
        assert self.may(cloud, user, "a")
