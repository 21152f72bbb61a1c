"""What IAM is asked before an operation runs: resources, condition keys, tags and passed roles.

`iam_reference` has the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from localcloud.aws import identity
from localcloud.aws.errors import AccessDenied, RoleNotAssumable, RoleNotFound
from localcloud.sagemaker import arns
from localcloud.sagemaker.errors import ServiceError, access_denied, validation
from localcloud.sagemaker.iam_reference import KEYS, LISTS, MEMBERS, RESOURCES, TAGGED
from localcloud.sagemaker.tags import tagged, tags_of

if TYPE_CHECKING:
    from localcloud.sagemaker.service import Call

Conditions = dict[str, str | list[str]]

_PRINCIPAL = "sagemaker.amazonaws.com"


def resources(call: Call) -> list[str]:
    """The ARNs that the operation's action is checked against; `*` for what has none (List operations)."""
    special = _SPECIAL.get(call.operation)
    if special:
        return special(call)
    if call.operation not in RESOURCES:
        return ["*"]
    kind, member = RESOURCES[call.operation]
    reference = call.request.get(member)
    if reference is None:
        return ["*"]
    if reference.startswith("arn:"):
        parsed = arns.parse(call.cloud, reference, kind or None)
        return [call.arn(parsed.kind, parsed.name)]
    return [call.arn(kind, reference)]


def conditions(call: Call) -> Conditions:
    """The condition keys that the request fills, tags included, by their full names."""
    found = _tag_conditions(call.request)
    for key in KEYS.get(call.operation, ()):
        value = _VALUES[key](call) if key in _VALUES else _from_members(call, key)
        if value is not None:
            found[f"sagemaker:{key}"] = value
    if call.operation in ("CreateModelPackage", "UpdateModelPackage"):
        for name, value in call.request.get("CustomerMetadataProperties", {}).items():
            found[f"sagemaker:CustomerMetadataProperties/{name}"] = value
    return found


def require(call: Call, action: str, resource: str, found: Mapping[str, str | list[str]]) -> None:
    """Ask IAM, with the tags of an existing resource added. Raises AccessDeniedException in AWS's words."""
    context = dict(found)
    for tag in tags_of(call.store, tagged(resource)):
        context[f"aws:ResourceTag/{tag['Key']}"] = tag["Value"]
        context[f"sagemaker:ResourceTag/{tag['Key']}"] = tag["Value"]
    context |= _current_package(call, resource)
    assert call.caller is not None
    try:
        identity.require(call.caller, action, resource, context)
    except AccessDenied as denied:
        raise access_denied(denied.message) from None


def require_tagging(call: Call) -> None:
    """Creating with tags needs `sagemaker:AddTags` on what is created, like adding them later."""
    if not call.operation.startswith("Create") or not call.request.get("Tags"):
        return
    found: Conditions = _tag_conditions(call.request) | {"sagemaker:TaggingAction": call.operation}
    for resource in resources(call):
        if _kind(resource) == TAGGED.get(call.operation, _kind(resource)):
            call.require("sagemaker:AddTags", resource, found)


def pass_role(call: Call, role_arn: str) -> None:
    """Require `iam:PassRole` to SageMaker, and a role that exists and trusts it."""
    try:
        if call.caller is not None:
            identity.require_pass_role(call.caller, role_arn, _PRINCIPAL)
    except AccessDenied as denied:
        raise access_denied(denied.message) from None
    except RoleNotFound:
        raise _invalid_role(call, role_arn) from None
    if not identity.role_trusts(role_arn, _PRINCIPAL, resources(call)[0]):
        raise _invalid_role(call, role_arn)


def _invalid_role(call: Call, role_arn: str) -> ServiceError:
    if call.operation == "CreateModel":
        return validation(
            f'The execution role ARN "{role_arn}" is invalid. Please ensure that the role exists and that '
            'its trust relationship policy allows the action "sts:AssumeRole" for the service principal '
            f'"{_PRINCIPAL}".'
        )
    return validation(RoleNotAssumable(role_arn, _PRINCIPAL).message)


def _kind(resource: str) -> str:
    return resource.split(":", 5)[-1].split("/", 1)[0]


def _tag_conditions(request: Mapping[str, Any]) -> Conditions:
    tags = request.get("Tags") or []
    found: Conditions = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}
    keys = [tag["Key"] for tag in tags] or request.get("TagKeys")
    if keys:
        found["aws:TagKeys"] = list(keys)
    return found


def _from_members(call: Call, key: str) -> str | list[str] | None:
    values = [_text(value) for member in MEMBERS[key] for value in _values(_described(call), member)]
    if key in LISTS:
        return list(dict.fromkeys(values)) or None
    return values[0] if values else None


def _described(call: Call) -> Mapping[str, Any]:
    """The part of the request that condition keys speak of: of a tuning job its (first) training jobs."""
    if call.operation != "CreateHyperParameterTuningJob":
        return call.request
    several = call.request.get("TrainingJobDefinitions") or [call.request.get("TrainingJobDefinition", {})]
    first: Mapping[str, Any] = several[0]
    return first


def _values(node: Any, member: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == member:
                yield from value if isinstance(value, list) else [value]
            else:
                yield from _values(value, member)
    elif isinstance(node, list):
        for item in node:
            yield from _values(item, member)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _model_arns(call: Call) -> str | None:
    if "ModelName" in call.request:
        return call.arn("model", call.request["ModelName"])
    names = [v["ModelName"] for v in call.request.get("ProductionVariants", []) if "ModelName" in v]
    return call.arn("model", names[0]) if names else None


def _volume_key(call: Call) -> str | None:
    # An endpoint configuration calls its volumes' key KmsKeyId; everywhere else that is the output's.
    member = "KmsKeyId" if call.operation == "CreateEndpointConfig" else "VolumeKmsKeyId"
    return next(iter(_values(_described(call), member)), None)


def _output_key(call: Call) -> str | None:
    return next(iter(_values(_described(call), "KmsKeyId")), None)


_VALUES: dict[str, Callable[[Call], str | None]] = {
    "ModelArn": _model_arns,
    "VolumeKmsKey": _volume_key,
    "OutputKmsKey": _output_key,
}


def _endpoint_and_config(call: Call) -> list[str]:
    return [
        call.arn("endpoint", call.request["EndpointName"]),
        call.arn("endpoint-config", call.request["EndpointConfigName"]),
    ]


def _new_package(call: Call) -> list[str]:
    group = call.request.get("ModelPackageGroupName")
    if group is None:
        return [call.arn("model-package", call.request.get("ModelPackageName", "*"))]
    name = arns.name_of(call.cloud, "model-package-group", group)
    record = call.store.find("model-package-group", name) or {}
    version = record.get("_LatestVersion", 0) + 1
    return [call.arn("model-package-group", name), call.arn("model-package", f"{name}/{version}")]


def _group_packages(call: Call) -> list[str]:
    group = call.request.get("ModelPackageGroupName")
    if not group:
        return ["*"]
    return [call.arn("model-package", f"{arns.name_of(call.cloud, 'model-package-group', group)}/*")]


def _callback_execution(call: Call) -> list[str]:
    record = call.store.find("callback-token", call.request["CallbackToken"])
    return ["*" if record is None else record["PipelineExecutionArn"]]


_SPECIAL: dict[str, Callable[[Call], list[str]]] = {
    "CreateEndpoint": _endpoint_and_config,
    "UpdateEndpoint": _endpoint_and_config,
    "CreateModelPackage": _new_package,
    "ListModelPackages": _group_packages,
    "SendPipelineExecutionStepFailure": _callback_execution,
    "SendPipelineExecutionStepSuccess": _callback_execution,
}


OPERATIONS_WITH_RESOURCES = frozenset(RESOURCES) | frozenset(_SPECIAL)


def _current_package(call: Call, resource: str) -> Conditions:
    if ":model-package/" not in resource:
        return {}
    record = call.store.find("model-package", resource.split(":model-package/", 1)[1])
    properties = (record or {}).get("CustomerMetadataProperties", {})
    return {
        f"sagemaker:CurrentCustomerMetadataProperties/{name}": value for name, value in properties.items()
    }
