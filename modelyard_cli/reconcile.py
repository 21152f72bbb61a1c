"""`modelyard reconcile`: the deployer looks at a group now, as its events and its schedule have it do.

For who is on call, with rights of an administrator: neither role for people may call the deployer. What they
decide it sees by itself, and `modelyard models` shows them what came of it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config

from modelyard_cli.aws import client, stack_resources
from modelyard_cli.errors import FAILED, UNREACHABLE, CliError
from modelyard_cli.output import JsonOption, console, print_json

# Lambda's longest; never twice, as the first may still be at work.
_CONFIG = Config(connect_timeout=5, read_timeout=910, retries={"total_max_attempts": 1})


def reconcile(
    group: Annotated[str, typer.Argument(help="Model package group.")], as_json: JsonOption = False
) -> None:
    """Bring a group in line with the registry now; exits 1, with the reason, if it cannot be.

    Takes the rights of an administrator: the roles for people may not, and need not, as it happens by itself.
    """
    function = _deployer(client("cloudformation"))
    answer = boto3.client("lambda", config=_CONFIG).invoke(
        FunctionName=function, Payload=json.dumps({"group": group})
    )
    content = json.loads(answer["Payload"].read() or b"null")
    if "FunctionError" in answer:
        raise CliError(str(content.get("errorMessage", content)), FAILED)
    version = content["serving"][group]
    if as_json:
        print_json({"group": group, "serving": version})
        return
    console.print(f"{group}: " + (f"version {version} serves" if version else "no version is approved"))


def _deployer(cloudformation: Any) -> str:
    for resource in stack_resources(cloudformation, "serving"):
        named = resource["LogicalResourceId"].startswith("DeployerFunction")
        if named and resource["ResourceType"] == "AWS::Lambda::Function":
            return str(resource["PhysicalResourceId"])
    raise CliError("the serving stack has no deployer of models. Deploy it: make deploy ENV=...", UNREACHABLE)
