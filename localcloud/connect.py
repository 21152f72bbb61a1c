"""How a client finds the running cloud: the command line, tests, and the user's shell."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder


class NotRunning(Exception):
    """No cloud serves the folder; one line with what to do."""


def connect(root: Path) -> tuple[Cloud, Credentials]:
    """The running cloud of a state folder, and its administrator's key.

    Raises:
        NotRunning: none is running there.

    Example:
        >>> cloud, administrator = connect(Path(".modelyard"))
        >>> cloud.client("sts", administrator).get_caller_identity()["Account"]
        '000000000000'
    """
    from localcloud.run import locked, read_json

    folder = StateFolder(root.resolve())
    record = read_json(folder.cloud_json)
    if record is None or not locked(folder):
        raise NotRunning(f"No local cloud is running on {folder.root}; start one with `modelyard up`.")
    cloud = Cloud(
        account=record["account"],
        region=record["region"],
        endpoint_url=record["endpoint_url"],
        ca_bundle=Path(record["ca_bundle"]),
        folder=folder,
        clock=record.get("clock", 1.0),
    )
    key = record["credentials"]
    return cloud, Credentials(access_key_id=key["access_key_id"], secret_access_key=key["secret_access_key"])


def client_environment(cloud: Cloud, key: Credentials) -> dict[str, str]:
    """Variables that point the AWS CLI, boto3 and the CDK CLI of a user's shell at the cloud."""
    return cloud.environment(key) | {
        "MODELYARD_STATE": str(cloud.folder.root),
        # What the CDK CLI builds and pushes images with.
        "CDK_DOCKER": str(Path(sys.executable).parent / "modelyard-docker"),
        # The lowest of the SDK's configurations: what a user has of his own wins.
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(cloud.folder.sagemaker_sdk),
    }


def sagemaker_sdk_defaults(cloud: Cloud) -> str:
    """The SageMaker SDK's configuration: its sessions' bucket, and no telemetry.

    It would ask for the account at `sts.REGION.amazonaws.com`, whatever the endpoint, to name the bucket.
    https://sagemaker.readthedocs.io/en/stable/overview.html#configuring-and-using-defaults-with-the-sagemaker-python-sdk
    """
    modules = {
        "TelemetryOptOut": True,
        "Session": {"DefaultS3Bucket": f"sagemaker-{cloud.region}-{cloud.account}"},
    }
    return json.dumps({"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}) + "\n"


def shell_exports(cloud: Cloud, key: Credentials) -> str:
    """The same for `eval` in a POSIX shell; a profile would win over the key, so it is unset."""
    lines = [
        f"export {name}={shlex.quote(value)}"
        for name, value in client_environment(cloud, key).items()
        if value
    ]
    hosts = "localhost,127.0.0.1,.localhost"
    lines += [
        "unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN",
        f'export NO_PROXY="{hosts}${{NO_PROXY:+,$NO_PROXY}}"',
    ]
    return "\n".join(lines) + "\n"
