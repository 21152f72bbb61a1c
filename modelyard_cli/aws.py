"""Clients for whatever cloud the AWS environment points at."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from modelyard_cli.errors import UNREACHABLE, CliError

# A person waits at the other end: fail in seconds when nothing listens.
_CONFIG = Config(connect_timeout=5, read_timeout=90, retries={"max_attempts": 3, "mode": "standard"})


def client(service: str, session: boto3.Session | None = None) -> Any:
    """A client with this environment's endpoint, region and credentials."""
    return (session or boto3.Session()).client(service, config=_CONFIG)


def is_local(client_: Any) -> bool:
    """True if this client talks to a cloud on this machine."""
    return "//localhost" in client_.meta.endpoint_url or "//127.0.0.1" in client_.meta.endpoint_url


def stack_outputs(cloudformation: Any) -> dict[str, str]:
    """Outputs of the deployed Modelyard stacks, by output key.

    Raises:
        CliError: no stack of this app is deployed in this account and region.
    """
    outputs: dict[str, str] = {}
    for page in cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
            if tags.get("project") == "modelyard":
                outputs |= {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if not outputs:
        raise CliError("no Modelyard stack is deployed here. Deploy first: make deploy ENV=...", UNREACHABLE)
    return outputs
