"""IAM and STS refuse what AWS refuses: documents, names, durations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localcloud.context import Cloud, Credentials
from tests.local.support import code_of

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
Role = Callable[[str, list[dict[str, Any]]], str]


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def long(characters: int) -> str:
    """A policy of about so many characters."""
    return document(*(allow(f"s3:{'A' * 900}") for _ in range(characters // 960 + 1)))


def unchecked(cloud: Cloud, service: str, key: Credentials) -> Any:
    """A client that leaves all checks to the service."""
    return boto3.client(
        service,
        region_name=cloud.region,
        endpoint_url=cloud.endpoint_url,
        verify=str(cloud.ca_bundle),
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        aws_session_token=key.session_token,
        config=Config(parameter_validation=False),
    )


@pytest.fixture
def iam(cloud: Cloud, admin: Credentials) -> Any:
    return unchecked(cloud, "iam", admin)


def test_malformed_documents(iam: Any, role: Role) -> None:
    name = role("lambda.amazonaws.com", []).rpartition("/")[2]
    bad = document(allow("GetObject"))
    for call in (
        lambda: iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=bad),
        lambda: iam.create_policy(PolicyName="bad", PolicyDocument=bad),
        lambda: iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=document(allow("sts:AssumeRole"))
        ),
        lambda: iam.create_role(
            RoleName="trusts-nobody",
            AssumeRolePolicyDocument=document(
                {**TRUST, "Principal": {"AWS": "arn:aws:iam::000000000000:role/nobody"}}
            ),
        ),
    ):
        assert code_of(call)[0] == "MalformedPolicyDocument"
    missing = code_of(lambda: iam.put_role_policy(RoleName="no-role", PolicyName="p", PolicyDocument=bad))
    assert missing[0] == "NoSuchEntity"


def test_documents_that_are_too_long(iam: Any, role: Role) -> None:
    name = role("lambda.amazonaws.com", []).rpartition("/")[2]
    iam.put_role_policy(RoleName=name, PolicyName="one", PolicyDocument=long(5000))
    iam.put_role_policy(RoleName=name, PolicyName="one", PolicyDocument=long(8000))
    code, message = code_of(
        lambda: iam.put_role_policy(RoleName=name, PolicyName="two", PolicyDocument=long(3000))
    )
    assert (code, message) == (
        "LimitExceeded",
        f"Maximum policy size of 10240 bytes exceeded for role {name}",
    )
    code, message = code_of(lambda: iam.create_policy(PolicyName="long", PolicyDocument=long(6200)))
    assert (code, message) == ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
    trust = document(*({**TRUST, "Sid": f"S{number}{'x' * 200}"} for number in range(8)))
    code, message = code_of(lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust))
    assert (code, message) == ("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")


def test_names_and_durations_of_roles(iam: Any, role: Role) -> None:
    name = role("lambda.amazonaws.com", []).rpartition("/")[2]

    def create(**change: Any) -> Callable[[], Any]:
        arguments = {"RoleName": "new", "AssumeRolePolicyDocument": document(TRUST), **change}
        return lambda: iam.create_role(**arguments)

    for call in (
        create(RoleName="with space"),
        create(RoleName="x" * 65),
        create(MaxSessionDuration=3599),
        create(MaxSessionDuration=43201),
        lambda: iam.update_role(RoleName=name, MaxSessionDuration=60),
        lambda: iam.put_role_policy(RoleName=name, PolicyName="a b", PolicyDocument=document(allow("s3:*"))),
    ):
        assert code_of(call)[0] == "ValidationError"


def test_sessions_have_bounds(cloud: Cloud, admin: Credentials, iam: Any) -> None:
    sts = unchecked(cloud, "sts", admin)
    trust = document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": cloud.account},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
    )
    made = iam.create_role(RoleName="long-sessions", AssumeRolePolicyDocument=trust, MaxSessionDuration=7200)
    arn = made["Role"]["Arn"]
    iam.put_role_policy(RoleName="long-sessions", PolicyName="p", PolicyDocument=document(allow("sts:*")))

    def assume(client: Any, seconds: int = 900, name: str = "me") -> Any:
        return client.assume_role(RoleArn=arn, RoleSessionName=name, DurationSeconds=seconds)["Credentials"]

    for seconds, words in (
        (899, "greater than or equal to 900"),
        (43201, "less than or equal to 43200"),
        (7201, "exceeds the MaxSessionDuration set for this role"),
    ):
        code, message = code_of(lambda: assume(sts, seconds))  # noqa: B023 - called at once
        assert code == "ValidationError"
        assert words in message
    for name in ("x", "x" * 65, "with space", "sl/ash"):
        assert code_of(lambda: assume(sts, name=name))[0] == "ValidationError"  # noqa: B023
    keys = assume(sts, 7200)
    session = Credentials(
        access_key_id=keys["AccessKeyId"],
        secret_access_key=keys["SecretAccessKey"],
        session_token=keys["SessionToken"],
    )
    chained = cloud.client("sts", session)
    assert assume(chained, 3600)
    assert "role chaining" in code_of(lambda: assume(chained, 3601))[1]


@pytest.mark.parametrize(
    ("kind", "properties", "words"),
    [
        (
            "Role",
            {"AssumeRolePolicyDocument": {"Statement": [{**TRUST, "Action": "s3:Get"}]}},
            "STS AssumeRole",
        ),
        (
            "Role",
            {
                "AssumeRolePolicyDocument": {"Statement": [TRUST]},
                "Policies": [{"PolicyName": "p", "PolicyDocument": json.loads(long(11000))}],
            },
            "Maximum policy size of 10240",
        ),
        ("ManagedPolicy", {"PolicyDocument": {"Statement": [allow("GetObject")]}}, "prefaced by a vendor"),
    ],
)
def test_templates_are_held_to_it(
    cloud: Cloud, admin: Credentials, kind: str, properties: dict[str, Any], words: str
) -> None:
    cloudformation = cloud.client("cloudformation", admin)
    template = {"Resources": {"It": {"Type": f"AWS::IAM::{kind}", "Properties": properties}}}
    name = f"iam-{abs(hash(words))}"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        OnFailure="DO_NOTHING",
    )
    with pytest.raises(Exception, match="terminal failure"):
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    assert any(words in event.get("ResourceStatusReason", "") for event in events)
    cloudformation.delete_stack(StackName=name)
