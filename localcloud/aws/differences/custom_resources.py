"""A custom resource's function is invoked with the rights of the stack's role, else of who deploys.

MiniStack runs it without asking anybody.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.aws import identity
from localcloud.aws.differences import service_roles
from localcloud.aws.differences.stack_roles import SERVICE, Deployer, deployer

_ACTION = "lambda:InvokeFunction"


def apply() -> None:
    """Wrap the invocation."""
    from ministack.services.cloudformation import custom_resource

    invoke = custom_resource.invoke_custom_resource

    def invoke_custom_resource(
        request_type: str, logical_id: str, props: Mapping[str, Any], *arguments: Any, **named: Any
    ) -> Any:
        who, function = deployer(), str(props.get("ServiceToken", ""))
        if who is not None and function.startswith("arn:"):
            _require(who, function)
        return invoke(request_type, logical_id, props, *arguments, **named)

    custom_resource.invoke_custom_resource = invoke_custom_resource


def _require(who: Deployer, function: str) -> None:
    """Raises AccessDenied, whose message becomes the reason of the resource's failure."""
    if who.role is None:
        identity.require(who.caller, _ACTION, function)
    elif not service_roles.may(who.role, SERVICE, _ACTION, function):
        raise identity.AccessDenied(
            f"The stack's role {who.role} is not authorized to perform: {_ACTION} on resource: {function}"
        )
