"""CloudFormation's types of EC2 that MiniStack lacks: rules of security groups on their own, and flow logs.

They are records, as all of MiniStack's network is: nothing is filtered, and nothing is logged.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_EC2.html
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from localcloud.aws import identity
from localcloud.cloudformation.register import Created, Properties, register_type
from localcloud.context import Cloud

_FLOW_LOGS = "vpc-flow-logs.amazonaws.com"


def install(cloud: Cloud) -> None:
    """Let templates use the three types."""
    prefix = "AWS::EC2::"
    register_type(f"{prefix}SecurityGroupIngress", SecurityGroupRule(cloud, egress=False), tags=False)
    register_type(f"{prefix}SecurityGroupEgress", SecurityGroupRule(cloud, egress=True), tags=False)
    register_type(f"{prefix}FlowLog", FlowLog(cloud))


class _Record:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _scope(self) -> AbstractContextManager[Any]:
        from ministack.core.responses import request_scope

        scope: AbstractContextManager[Any] = request_scope(self._cloud.account, self._cloud.region)
        return scope


class SecurityGroupRule(_Record):
    """`Ref` and `Id` are the rule's id. Another description changes it, all else replaces it."""

    replace_on = frozenset(
        {"GroupId", "GroupName", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6",
         "SourcePrefixListId", "SourceSecurityGroupId", "SourceSecurityGroupName",
         "SourceSecurityGroupOwnerId", "DestinationPrefixListId", "DestinationSecurityGroupId"}
    )  # fmt: skip

    def __init__(self, cloud: Cloud, *, egress: bool) -> None:
        super().__init__(cloud)
        self._egress = egress

    def create(self, logical_id: str, properties: Properties, _stack_name: str) -> Created:
        from ministack.services import ec2

        with self._scope():
            rules, group = self._rules(properties), str(properties.get("GroupId") or "")
            if rules is None:
                raise ValueError(f"{logical_id}: the security group {group or '(none)'} does not exist")
            rule = _permission(properties)
            if any(_plain(known) == _plain(rule) for known in rules):
                raise ValueError(f"{logical_id}: {group} has this rule already (InvalidPermission.Duplicate)")
            rules.append(rule)
            identity = str(ec2._sg_rule_id(group, self._egress, rule))
        return identity, {"Id": identity}

    def update(self, physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
        with self._scope():
            rules, rule = self._rules(new), _permission(new)
            if rules is None:
                raise ValueError(f"{physical_id}: its security group is gone")
            rules[:] = [rule if _plain(known) == _plain(rule) else known for known in rules]
        return physical_id, {"Id": physical_id}

    def delete(self, _physical_id: str, properties: Properties) -> None:
        with self._scope():
            rules = self._rules(properties)
            if rules is not None:
                rule = _plain(_permission(properties))
                rules[:] = [known for known in rules if _plain(known) != rule]

    def _rules(self, properties: Properties) -> list[dict[str, Any]] | None:
        from ministack.services import ec2

        group = ec2._security_groups.get(properties.get("GroupId"))
        kind = "IpPermissionsEgress" if self._egress else "IpPermissions"
        return None if group is None else group.setdefault(kind, [])


def _permission(properties: Properties) -> dict[str, Any]:
    from ministack.services.cloudformation import provisioners

    permission: dict[str, Any] = provisioners._ec2_sg_permissions([dict(properties)])[0]
    return permission


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a rule: two that differ in their descriptions are one."""
    return {
        name: [{key: part for key, part in entry.items() if key != "Description"} for entry in value]
        if isinstance(value, list)
        else value
        for name, value in rule.items()
        if name not in ("SecurityGroupRuleId", "Description")
    }


class FlowLog(_Record):
    """`Ref` and `Id` are its id. The role that delivers must trust the service; all but tags replaces it."""

    replace_on = frozenset(
        {"DeliverCrossAccountRole", "DeliverLogsPermissionArn", "DestinationOptions", "LogDestination",
         "LogDestinationType", "LogFormat", "LogGroupName", "MaxAggregationInterval", "ResourceId",
         "ResourceType", "TrafficType"}
    )  # fmt: skip

    def create(self, logical_id: str, properties: Properties, _stack_name: str) -> Created:
        from ministack.services import ec2
        from ministack.services.cloudformation import provisioners

        role = properties.get("DeliverLogsPermissionArn")
        if role and not identity.role_trusts(str(role), _FLOW_LOGS):
            raise ValueError(f"{logical_id}: the role {role} does not exist or does not trust {_FLOW_LOGS}")
        name = f"fl-{secrets.token_hex(9)[:17]}"
        with self._scope():
            ec2._flow_logs[name] = {
                "FlowLogId": name,
                "ResourceId": properties["ResourceId"],
                "ResourceType": properties["ResourceType"],
                "TrafficType": properties.get("TrafficType", "ALL"),
                "LogDestinationType": properties.get("LogDestinationType", "cloud-watch-logs"),
                "LogDestination": properties.get("LogDestination") or properties.get("LogGroupName", ""),
                "FlowLogStatus": "ACTIVE",
                "CreationTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            }
            provisioners._ec2_apply_tags(name, properties)
        return name, {"Id": name}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
        from ministack.services.cloudformation import provisioners

        with self._scope():
            provisioners._ec2_apply_tags(physical_id, new, old)
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        from ministack.services import ec2

        with self._scope():
            ec2._flow_logs.pop(physical_id, None)
            ec2._tags.pop(physical_id, None)
