"""An alias whose template says `CodeDeployLambdaAliasUpdate` gets its new version from CodeDeploy.

MiniStack reads no update policy: the alias would be at the new version at once.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws import identity
from localcloud.aws.differences import service_roles, stack_roles
from localcloud.cloudformation.register import run_on_thread
from localcloud.codedeploy import deployments, groups
from localcloud.codedeploy.appspec import Target, revision
from localcloud.codedeploy.service import DEPLOYMENT, CodeDeploy
from localcloud.sagemaker.errors import ServiceError

_TYPE, _POLICY = "AWS::Lambda::Alias", "CodeDeployLambdaAliasUpdate"
_HOOKS = ("BeforeAllowTrafficHook", "AfterAllowTrafficHook")
Definitions = Mapping[str, Mapping[str, Any]]
# Resources of the template that the current operation brings a stack to.
_definitions: contextvars.ContextVar[Definitions | None] = contextvars.ContextVar(
    "modelyard_definitions", default=None
)


def install(service: CodeDeploy) -> None:
    """Wrap MiniStack's handler of aliases, and let what an update policy names come before the alias."""
    from ministack.services.cloudformation import engine, provisioners, stacks

    dependencies, order = engine._extract_deps, stacks._topological_sort
    handlers = provisioners._RESOURCE_HANDLERS[_TYPE]
    update: Callable[..., Any] = handlers["update"]

    def extract_deps(definition: Mapping[str, Any], names: set[str]) -> set[str]:
        found = engine._intrinsic_references(definition.get("UpdatePolicy", {}))
        return {*dependencies(definition, names), *(name for name, _ in found if name in names)}

    def topological_sort(resources: Definitions, conditions: Any) -> Any:
        # First of all that an operation does; it comes again when it removes what is no longer named.
        if _definitions.get() is None:
            _definitions.set(resources)
        return order(resources, conditions)

    def update_alias(
        physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], stack_name: str, logical_id: str
    ) -> Any:
        same = all(old.get(name) == new.get(name) for name in ("FunctionName", "Name"))
        policy = _policy(stack_name, logical_id) if same else None
        if policy is not None and old.get("FunctionVersion") != new.get("FunctionVersion"):
            _deploy(service, policy, old, new)
        return update(physical_id, old, new, stack_name, logical_id)

    engine._extract_deps = extract_deps
    stacks._topological_sort = topological_sort
    handlers["update"] = update_alias
    # It waits as long as the shift takes.
    run_on_thread(_TYPE)


def _policy(stack_name: str, logical_id: str) -> Mapping[str, Any] | None:
    """The alias's policy with names for references, None without one."""
    from ministack.services.cloudformation import _stacks
    from ministack.services.cloudformation.engine import _resolve_refs

    definition = (_definitions.get() or {}).get(logical_id) or {}
    policy = (definition.get("UpdatePolicy") or {}).get(_POLICY)
    if policy is None:
        return None
    stack = _stacks[stack_name]
    resolved: Mapping[str, Any] = _resolve_refs(
        policy,
        stack["_resources"],
        stack.get("_resolved_params") or {},
        stack.get("_conditions") or {},
        {},
        stack_name,
        stack["StackId"],
    )
    return resolved


def _deploy(
    service: CodeDeploy, policy: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Shift the alias, and wait; the message of what is raised becomes the reason of the stack's events."""
    if any(policy.get(hook) for hook in _HOOKS):
        raise ValueError(f"the local cloud runs no {' or '.join(_HOOKS)} of {_POLICY}")
    named = {
        "applicationName": str(policy["ApplicationName"]),
        "deploymentGroupName": str(policy["DeploymentGroupName"]),
    }
    _require(service, groups.key(named))
    target = Target(
        function=str(new["FunctionName"]).rpartition(":")[2],
        alias=str(new["Name"]),
        current=str(old["FunctionVersion"]),
        target=str(new["FunctionVersion"]),
    )
    try:
        group = groups.find(service, named)
        deployment_id = deployments.begin(
            service, group, revision(target), creator="CloudFormation", config=None
        )
    except ServiceError as error:
        raise ValueError(f"CodeDeploy: {error.message}") from error
    done = service.store.wait(DEPLOYMENT, deployment_id, lambda record: record["status"] in deployments.ENDED)
    if done["status"] != "Succeeded":
        reason = done["errorInformation"]
        raise ValueError(f"CodeDeploy deployment {deployment_id}: {reason['message']} ({reason['code']})")


def _require(service: CodeDeploy, group: str) -> None:
    """CloudFormation creates the deployment with the rights of the stack's role, else of who deploys."""
    who, action = stack_roles.deployer(), "codedeploy:CreateDeployment"
    if who is None:
        return
    arn = service.arn("deploymentgroup", group)
    if who.role is None:
        identity.require(who.caller, action, arn)
    elif not service_roles.may(who.role, stack_roles.SERVICE, action, arn):
        raise identity.AccessDenied(
            f"The stack's role {who.role} is not authorized to perform: {action} on resource: {arn}"
        )
