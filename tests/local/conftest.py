"""One local cloud for the whole test session.

    def test_something(cloud, admin):
        s3 = cloud.client("s3", admin)            # boto3, over TLS, IAM enforced

Fixtures:
    cloud    `localcloud.context.Cloud` of a server process on a folder of the session.
    admin    `Credentials` of its administrator.
    actor    a factory of IAM users with one inline policy: `actor(policy_statements) -> Credentials`.
    role     a factory of IAM roles: `role(service, policy_statements) -> ARN`.
    audit    a function that returns the audit's records so far.
    sagemaker  the administrator's client.
    bench    a tiny image, a role and a bucket of a module, for pipelines made of them.

Tests share the account: use names of your own (`unique("name")`) and do not assume an empty account.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials
from tests.local.pipeline_support import ALL, Bench
from tests.local.support import unique

Statements = list[dict[str, Any]]


@pytest.fixture(scope="session")
def cloud_and_admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Credentials]]:
    root = tmp_path_factory.mktemp("cloud") / "state"
    lifecycle.up(root)
    try:
        yield connect(root)
    finally:
        result = lifecycle.down(root)
    log = (root / "logs" / "server.log").read_text()
    assert result == {"was_running": True, "ended": 0, "state_kept": True}, log


@pytest.fixture(scope="session")
def cloud(cloud_and_admin: tuple[Cloud, Credentials]) -> Cloud:
    return cloud_and_admin[0]


@pytest.fixture(scope="session")
def admin(cloud_and_admin: tuple[Cloud, Credentials]) -> Credentials:
    return cloud_and_admin[1]


@pytest.fixture(scope="session")
def actor(cloud: Cloud, admin: Credentials) -> Callable[[Statements], Credentials]:
    """Make an IAM user who may do what the statements say, and nothing if there are none."""
    iam = cloud.client("iam", admin)

    def make(statements: Statements) -> Credentials:
        name = unique("actor")
        iam.create_user(UserName=name)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Credentials(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    return make


@pytest.fixture(scope="session")
def role(cloud: Cloud, admin: Credentials) -> Callable[[str, Statements], str]:
    """Make an IAM role that a service may assume, for example `sagemaker.amazonaws.com`."""
    iam = cloud.client("iam", admin)

    def make(service: str, statements: Statements) -> str:
        name = unique("role")
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=document)
        return arn

    return make


@pytest.fixture(scope="session")
def sagemaker(cloud: Cloud, admin: Credentials) -> Any:
    return cloud.client("sagemaker", admin)


@pytest.fixture(scope="module")
def bench(
    cloud: Cloud,
    admin: Credentials,
    role: Callable[[str, Statements], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    """A tiny image, a role that may do everything and a bucket."""
    return Bench(cloud, admin, role("sagemaker.amazonaws.com", ALL), tmp_path_factory.mktemp("image"))


@pytest.fixture
def audit(cloud: Cloud, admin: Credentials) -> Callable[[], list[dict[str, Any]]]:
    """Read the audit; all that was decided before is in it."""

    def read() -> list[dict[str, Any]]:
        # Lines are written later, in their order: whatever came before this one is there when it is.
        mark = unique("audit-mark")
        with pytest.raises(ClientError):
            cloud.client("iam", admin).get_user(UserName=mark)
        deadline = time.monotonic() + 60
        while mark not in (whole := cloud.folder.audit.read_text().rpartition("\n")[0]):
            assert time.monotonic() < deadline, whole[-1000:]
            time.sleep(0.05)
        return [json.loads(line) for line in whole.splitlines()]

    return read
