"""`AWS::ApplicationAutoScaling::ScalableTarget` and `::ScalingPolicy`, by way of the service's API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ApplicationAutoScaling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.autoscaling.service import SERVICE
from localcloud.aws import administrator
from localcloud.cloudformation.register import Created, Properties, register_type
from localcloud.context import Cloud
from localcloud.sagemaker import shapes

_IDENTITY = ("ResourceId", "ScalableDimension", "ServiceNamespace")


def install(cloud: Cloud) -> None:
    """Let templates use both types; neither has tags."""
    prefix = "AWS::ApplicationAutoScaling::"
    register_type(f"{prefix}ScalableTarget", ScalableTarget(cloud), tags=False)
    register_type(f"{prefix}ScalingPolicy", ScalingPolicy(cloud), tags=False)


def _client(cloud: Cloud) -> Any:
    return cloud.client(SERVICE, administrator.credentials(cloud.folder))


def typed(value: Any, shape: Any) -> Any:
    """A template's value as the API takes it: CloudFormation passes numbers and booleans as text, too."""
    kind = shape.type_name
    if kind == "structure":
        known = {name: item for name, item in value.items() if name in shape.members}
        return {name: typed(item, shape.members[name]) for name, item in known.items()}
    if kind == "list":
        return [typed(item, shape.member) for item in value]
    if not isinstance(value, str):
        return value
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("float", "double"):
        return float(value)
    return value == "true" if kind == "boolean" else value


def _request(operation: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = typed(properties, shapes.input_shape(operation, SERVICE))
    return request


class ScalableTarget:
    """`Ref` and `Id` are `RESOURCE_ID|DIMENSION|NAMESPACE`."""

    replace_on = frozenset(_IDENTITY)

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Created:
        created = self._register(properties)
        try:
            self._schedule({}, properties)
        except Exception:
            # What failed to be created is not deleted by CloudFormation.
            self.delete(created[0], properties)
            raise
        return created

    def update(self, _physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        created = self._register(new)
        self._schedule(old, new)
        return created

    def delete(self, physical_id: str, _properties: Properties) -> None:
        client = _client(self._cloud)
        identity = dict(zip(_IDENTITY, physical_id.split("|"), strict=True))
        try:
            client.deregister_scalable_target(**identity)
        except client.exceptions.ObjectNotFoundException:
            return

    def _register(self, properties: Properties) -> Created:
        request = _request("RegisterScalableTarget", properties)
        # What a template no longer suspends runs again.
        request.setdefault("SuspendedState", {})
        _client(self._cloud).register_scalable_target(**request)
        physical_id = "|".join(str(request[name]) for name in _IDENTITY)
        return physical_id, {"Id": physical_id}

    def _schedule(self, old: Properties, new: Properties) -> None:
        client = _client(self._cloud)
        identity = {name: str(new[name]) for name in _IDENTITY}
        before = {action["ScheduledActionName"]: action for action in old.get("ScheduledActions") or ()}
        wanted = {action["ScheduledActionName"]: action for action in new.get("ScheduledActions") or ()}
        for name in before.keys() - wanted.keys():
            try:
                client.delete_scheduled_action(ScheduledActionName=name, **identity)
            except client.exceptions.ObjectNotFoundException:
                continue
        for name, action in wanted.items():
            if action != before.get(name):
                client.put_scheduled_action(**_request("PutScheduledAction", {**action, **identity}))


class ScalingPolicy:
    """`Ref` and `Arn` are the policy's ARN."""

    replace_on = frozenset({*_IDENTITY, "PolicyName", "ScalingTargetId"})

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Created:
        return self._put(properties)

    def update(self, _physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
        return self._put(new)

    def delete(self, physical_id: str, properties: Properties) -> None:
        client = _client(self._cloud)
        request = {"PolicyName": properties["PolicyName"], **self._identity(properties)}
        known = client.describe_scaling_policies(
            ServiceNamespace=request["ServiceNamespace"], PolicyNames=[request["PolicyName"]]
        )
        # A replacement may have made another policy of the same name elsewhere.
        if physical_id in {policy["PolicyARN"] for policy in known["ScalingPolicies"]}:
            client.delete_scaling_policy(**request)

    def _put(self, properties: Properties) -> Created:
        request = _request("PutScalingPolicy", {**properties, **self._identity(properties)})
        arn = str(_client(self._cloud).put_scaling_policy(**request)["PolicyARN"])
        return arn, {"Arn": arn}

    def _identity(self, properties: Properties) -> dict[str, str]:
        target = properties.get("ScalingTargetId")
        if target:
            return dict(zip(_IDENTITY, str(target).split("|"), strict=True))
        return {name: str(properties[name]) for name in _IDENTITY}
