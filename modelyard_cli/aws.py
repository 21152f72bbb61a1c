"""Clients for whatever cloud the AWS environment points at."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from modelyard_cli.errors import UNREACHABLE, CliError

# A person waits at the other end: fail in seconds when nothing listens.
_CONFIG = Config(connect_timeout=5, read_timeout=90, retries={"max_attempts": 3, "mode": "standard"})


def client(service: str, session: boto3.Session | None = None) -> Any:
    """A client with this environment's endpoint, region and credentials."""
    return (session or boto3.Session()).client(service, config=_CONFIG)


def is_local(client_: Any) -> bool:
    """True if this client talks to a cloud on this machine."""
    return "//localhost" in client_.meta.endpoint_url or "//127.0.0.1" in client_.meta.endpoint_url


def stack_outputs(cloudformation: Any, part: str, *names: str) -> list[str]:
    """Outputs of one stack of this app, in the order of their names.

    The stack is asked for by name, since the roles for people see no others: `modelyard-dev-serving` for the
    part `serving` where MODELYARD_ENV is `dev`, without it that of `local`.

    Example:
        >>> table, groups = stack_outputs(cloudformation, "serving", "RecordTableName", "ModelGroups")

    Raises:
        CliError: it is not deployed in this account and region, or was before it had these outputs.
    """
    (stack,) = _asked(cloudformation.describe_stacks, part)["Stacks"]
    found = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if missing := [name for name in names if name not in found]:
        raise CliError(
            f"the stack {stack['StackName']} has no output {missing[0]}: deploy it anew, with make deploy",
            UNREACHABLE,
        )
    return [found[name] for name in names]


def stack_resources(cloudformation: Any, part: str) -> list[dict[str, Any]]:
    """What one stack of this app holds; which one, and what it raises: as `stack_outputs`."""
    found: list[dict[str, Any]] = _asked(cloudformation.describe_stack_resources, part)["StackResources"]
    return found


def _asked(operation: Callable[..., dict[str, Any]], part: str) -> dict[str, Any]:
    environment = os.environ.get("MODELYARD_ENV") or "local"
    name = f"modelyard-{environment}-{part}"
    try:
        return operation(StackName=name)
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        raise CliError(
            f"no Modelyard stack {name} is deployed here. Deploy first: make deploy ENV={environment}; "
            "or name the environment that is: MODELYARD_ENV=dev",
            UNREACHABLE,
        ) from None
