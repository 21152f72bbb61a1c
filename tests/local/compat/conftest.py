"""What people who write such pipelines have: their default bucket and a role with AWS's own policy."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials

FOLDER = Path(__file__).parent
PRINCIPAL = "sagemaker.amazonaws.com"
ROLE = "AmazonSageMaker-ExecutionRole-Shellfish"
sys.path.insert(0, str(FOLDER))


@dataclass(frozen=True)
class Account:
    """A bucket `sagemaker-REGION-ACCOUNT`, a role, and clients of the administrator."""

    cloud: Cloud
    admin: Credentials
    bucket: str
    role: str

    def client(self, service: str) -> Any:
        return self.cloud.client(service, self.admin)

    def put(self, key: str, body: str) -> str:
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body.encode())
        return f"s3://{self.bucket}/{key}"

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def environment(self) -> dict[str, str]:
        """For SDKs and command lines in processes of their own."""
        return {"PATH": "/usr/bin:/bin", **client_environment(self.cloud, self.admin)}

    def log(self, group: str, prefix: str) -> str:
        logs = self.client("logs")
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        events = [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]
        return "\n".join(events)


@pytest.fixture(scope="session")
def account(cloud: Cloud, admin: Credentials) -> Account:
    bucket = f"sagemaker-{cloud.region}-{cloud.account}"
    cloud.client("s3", admin).create_bucket(Bucket=bucket)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam = cloud.client("iam", admin)
    role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    return Account(cloud, admin, bucket, role)
