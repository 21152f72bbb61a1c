"""AWS's own policies that people attach to the roles of their pipelines."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Credentials


def test_what_callback_and_lambda_steps_need(account: Any) -> None:
    name = f"integrations-{uuid.uuid4().hex[:8]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account.cloud.account}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam = account.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerPipelinesIntegrations"
    )
    key = account.client("sts").assume_role(RoleArn=arn, RoleSessionName="callback")["Credentials"]
    sqs = account.cloud.client(
        "sqs",
        Credentials(
            access_key_id=key["AccessKeyId"],
            secret_access_key=key["SecretAccessKey"],
            session_token=key["SessionToken"],
        ),
    )
    queue = sqs.create_queue(QueueName=f"sagemaker-{name}")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="token")
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.create_queue(QueueName="another")
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.receive_message(QueueUrl=queue)
