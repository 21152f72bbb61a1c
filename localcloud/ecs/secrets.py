"""Secrets of containers: values of Secrets Manager and Parameter Store, read with the execution role.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials
from localcloud.ecs.failure import TaskFailure

_REFUSED = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval "
    "failed: "
)
_PARTS = 7  # of a secret's ARN; after them come JSON key, version stage and version id


def resolve(cloud: Cloud, credentials: Credentials, container: Mapping[str, Any]) -> dict[str, str]:
    """Values by variable.

    Raises:
        TaskFailure: One does not exist, or the role may not read it.
    """
    try:
        return {
            secret["name"]: _value(cloud, credentials, secret["valueFrom"])
            for secret in container.get("secrets", ())
        }
    except ClientError as error:
        found = error.response["Error"]
        raise TaskFailure(f"{_REFUSED}{found['Code']}: {found.get('Message', '')}") from error


def _value(cloud: Cloud, credentials: Credentials, source: str) -> str:
    parts = source.split(":")
    if not source.startswith("arn:") or parts[2] == "ssm":
        name = source if not source.startswith("arn:") else _parameter(parts[5])
        answer = cloud.client("ssm", credentials).get_parameter(Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])
    key, stage, version = [*parts[_PARTS:], "", "", ""][:3]
    chosen = {"VersionStage": stage} if stage else {}
    chosen |= {"VersionId": version} if version else {}
    secret = ":".join(parts[:_PARTS])
    answer = cloud.client("secretsmanager", credentials).get_secret_value(SecretId=secret, **chosen)
    if not key:
        return str(answer["SecretString"])
    try:
        return str(json.loads(answer["SecretString"])[key])
    except (ValueError, KeyError, TypeError):
        raise TaskFailure(
            f"{_REFUSED}retrieved secret from Secrets Manager did not contain json key {key}"
        ) from None


def _parameter(resource: str) -> str:
    name = resource.removeprefix("parameter/")
    return f"/{name}" if "/" in name else name
