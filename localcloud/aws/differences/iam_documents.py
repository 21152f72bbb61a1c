"""IAM takes only policies, names and durations that are well-formed and short enough.

MiniStack takes documents of any length, actions of any form, and trust policies of any content.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from localcloud.aws.policy_documents import identity_fault, length, trust_fault

_MALFORMED, _LIMIT = "MalformedPolicyDocument", "LimitExceeded"
# Characters of all inline policies together, of a managed policy, and of a trust policy by default.
_INLINE = {"role": 10240, "user": 2048, "group": 5120}
_MANAGED, _TRUST = 6144, 2048
_SESSION_SECONDS = (3600, 43200)
_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
# Of what the calls with documents make or change.
_NAME_LENGTHS = {"RoleName": 64, "UserName": 64, "GroupName": 128, "PolicyName": 128}


class Refused(Exception):
    """A request that IAM does not take."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def apply() -> None:
    """Wrap the calls and resource types that bring documents."""
    from ministack.services import iam
    from ministack.services.cloudformation import provisioners

    checks: dict[str, Callable[[Mapping[str, str]], None]] = {
        "CreateRole": _check_create_role,
        "UpdateRole": lambda request: _check_duration(request.get("MaxSessionDuration")),
        "UpdateAssumeRolePolicy": lambda request: check_trust(request.get("PolicyDocument", "")),
        "PutRolePolicy": lambda request: _check_inline("role", request),
        "PutUserPolicy": lambda request: _check_inline("user", request),
        "PutGroupPolicy": lambda request: _check_inline("group", request),
        "CreatePolicy": lambda request: check_managed(request.get("PolicyDocument", "")),
        "CreatePolicyVersion": lambda request: check_managed(request.get("PolicyDocument", "")),
    }
    for name, check in checks.items():
        iam._IAM_HANDLERS[name] = _checked(iam._IAM_HANDLERS[name], check)
    resources: dict[str, Callable[[Mapping[str, Any]], None]] = {
        "AWS::IAM::Role": _check_role_resource,
        "AWS::IAM::Policy": _check_policy_resource,
        "AWS::IAM::ManagedPolicy": lambda properties: check_managed(properties.get("PolicyDocument", {})),
        "AWS::IAM::User": lambda properties: _check_policies("user", properties),
    }
    for name, check_resource in resources.items():
        handlers = provisioners._RESOURCE_HANDLERS[name]
        handlers["create"] = _checked_create(handlers["create"], check_resource)
        handlers["update"] = _checked_update(handlers["update"], check_resource)


def _checked(handle: Callable[..., Any], check: Callable[[Mapping[str, str]], None]) -> Callable[..., Any]:
    from ministack.services import iam

    def handle_checked(parameters: Mapping[str, Any]) -> Any:
        # A missing user, group or role is said first, by MiniStack.
        request = {name: iam._p(parameters, name) for name in parameters}
        try:
            check(request)
        except Refused as refused:
            status = 409 if refused.code == _LIMIT else 400
            return iam._error(status, refused.code, escape(refused.message), ns="iam")
        return handle(parameters)

    return handle_checked


def _checked_create(create: Callable[..., Any], check: Callable[[Mapping[str, Any]], None]) -> Any:
    def create_checked(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        check_resource(check, properties)
        return create(logical_id, properties, stack_name)

    return create_checked


def _checked_update(update: Callable[..., Any], check: Callable[[Mapping[str, Any]], None]) -> Any:
    def update_checked(
        physical_id: str, old: Any, new: Mapping[str, Any], stack_name: str, *more: Any, **named: Any
    ) -> Any:
        check_resource(check, new)
        return update(physical_id, old, new, stack_name, *more, **named)

    return update_checked


def check_resource(check: Callable[[Mapping[str, Any]], None], properties: Mapping[str, Any]) -> None:
    """Check a resource of a template; ValueError is its reason to fail."""
    try:
        check(properties)
    except Refused as refused:
        raise ValueError(f"{refused.message} (Service: Iam, Error Code: {refused.code})") from None


def _check_create_role(request: Mapping[str, str]) -> None:
    _check_name(request, "RoleName")
    check_trust(request.get("AssumeRolePolicyDocument", ""))
    _check_duration(request.get("MaxSessionDuration"))


def _check_name(request: Mapping[str, Any], member: str) -> None:
    name, longest = str(request.get(member) or ""), _NAME_LENGTHS[member]
    label = member[0].lower() + member[1:]
    if len(name) > longest:
        raise Refused(
            "ValidationError",
            f"1 validation error detected: Value '{name}' at '{label}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {longest}",
        )
    if not _NAME.fullmatch(name):
        raise Refused(
            "ValidationError",
            f"The specified value for {label} is invalid. It must contain only alphanumeric characters "
            "and/or the following: +=,.@_-",
        )


def _check_duration(seconds: str | int | None) -> None:
    if seconds is None or seconds == "":
        return
    least, most = _SESSION_SECONDS
    if not least <= int(seconds) <= most:
        bound = (
            f"greater than or equal to {least}" if int(seconds) < least else f"less than or equal to {most}"
        )
        raise Refused(
            "ValidationError",
            f"1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to satisfy "
            f"constraint: Member must have value {bound}",
        )


def check_trust(document: Any) -> None:
    """Refuse a trust policy as IAM does."""
    if fault := trust_fault(document, principal_exists):
        raise Refused(_MALFORMED, fault)
    if length(document) > _TRUST:
        raise Refused(_LIMIT, f"Cannot exceed quota for ACLSizePerRole: {_TRUST}")


def check_managed(document: Any) -> None:
    """Refuse a managed policy as IAM does."""
    if fault := identity_fault(document):
        raise Refused(_MALFORMED, fault)
    if length(document) > _MANAGED:
        raise Refused(_LIMIT, f"Cannot exceed quota for PolicySize: {_MANAGED}")


def _check_inline(kind: str, request: Mapping[str, Any]) -> None:
    name, policy = str(request.get(f"{kind.title()}Name")), str(request.get("PolicyName"))
    kept = _inline_of(kind, name)
    if kept is None:
        return
    _check_name(request, "PolicyName")
    others = [document for other, document in kept.items() if other != policy]
    _check_documents(kind, name, [request.get("PolicyDocument", "")], others)


def _check_documents(kind: str, name: str, new: Iterable[Any], kept: Iterable[Any]) -> None:
    total = sum(map(length, kept))
    for document in new:
        if fault := identity_fault(document):
            raise Refused(_MALFORMED, fault)
        total += length(document)
    if total > _INLINE[kind]:
        raise Refused(_LIMIT, f"Maximum policy size of {_INLINE[kind]} bytes exceeded for {kind} {name}")


def _check_policies(kind: str, properties: Mapping[str, Any]) -> None:
    name = str(properties.get(f"{kind.title()}Name", ""))
    documents = [policy.get("PolicyDocument", {}) for policy in properties.get("Policies") or []]
    _check_documents(kind, name, documents, [])


def _check_role_resource(properties: Mapping[str, Any]) -> None:
    check_trust(properties.get("AssumeRolePolicyDocument", {}))
    _check_duration(properties.get("MaxSessionDuration"))
    _check_policies("role", properties)


def _check_policy_resource(properties: Mapping[str, Any]) -> None:
    for kind in _INLINE:
        for name in properties.get(f"{kind.title()}s") or []:
            kept = {**(_inline_of(kind, name) or {})}
            kept.pop(str(properties.get("PolicyName")), None)
            _check_documents(kind, name, [properties.get("PolicyDocument", {})], kept.values())


def _inline_of(kind: str, name: str) -> Mapping[str, Any] | None:
    """Inline policies of an entity by name; None if there is no such entity."""
    from ministack.services import iam

    if kind == "role":
        role = iam._roles.get(name)
        return None if role is None else role["InlinePolicies"]
    users = kind == "user"
    if name not in (iam._users if users else iam._groups):
        return None
    return (iam._user_inline_policies if users else iam._group_inline_policies).get(name) or {}


def principal_exists(arn: str) -> bool:
    """Whether there is a principal of this ARN; another account's are taken for existing."""
    from ministack.core.responses import get_account_id
    from ministack.services import iam

    found = re.fullmatch(
        r"arn:aws[\w-]*:(iam|sts)::(\d{12}):(root|(role|user|assumed-role|federated-user)/.+)", arn
    )
    if found is None:
        return False
    if found[2] != get_account_id() or found[1] == "sts" or found[3] == "root":
        return True
    kept = iam._roles if found[4] == "role" else iam._users
    entity = kept.get(arn.rpartition("/")[2])
    return entity is not None and entity.get("Arn") == arn
