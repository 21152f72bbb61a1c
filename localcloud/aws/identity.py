"""Who calls, what they may do, and as whom a service acts: MiniStack's IAM evaluator, asked as AWS would.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from localcloud.aws.errors import AccessDenied, RoleNotAssumable, RoleNotFound
from localcloud.context import Cloud, Credentials

__all__ = [
    "AccessDenied",
    "Caller",
    "RoleNotAssumable",
    "RoleNotFound",
    "assume_role",
    "caller_of",
    "require",
    "require_of",
    "require_pass_role",
    "role_trusts",
]

# As of the sessions that AWS's services hold; `sessions.RoleSession` renews them.
_SESSION_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The principal behind a request whose signature was verified; `arn` is a user's or a role session's."""

    access_key_id: str
    arn: str
    account: str
    region: str


def caller_of(headers: Mapping[str, str], query: Mapping[str, list[str]]) -> Caller:
    """The caller of a request that MiniStack has authenticated.

    Raises:
        AccessDenied: the key is unknown (MiniStack answers such a request itself, so this is a race
            with the key's deletion).
    """
    from ministack.core import iam_evaluator, responses, router

    key = router.extract_access_key_id(dict(headers), dict(query))
    found = iam_evaluator.resolve_credential(key, responses.get_account_id())
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        raise AccessDenied(found.message)
    region = router.extract_region(dict(headers), dict(query))
    return Caller(access_key_id=key, arn=found.principal_arn, account=found.account_id, region=region)


def require(
    caller: Caller,
    action: str,
    resource: str = "*",
    conditions: Mapping[str, str | list[str]] | None = None,
) -> None:
    """Ask IAM whether the caller may do this; the decision goes to the audit.

    Args:
        action: for example `sagemaker:InvokeEndpoint`.
        resource: its ARN, `*` for actions without resource types.
        conditions: keys of this request, for example `{"sagemaker:TargetModel": "a.tar.gz"}`.

    Raises:
        AccessDenied: with AWS's words.
    """
    from ministack.core import iam_evaluator
    from ministack.core.responses import request_scope

    service = action.partition(":")[0]
    with request_scope(caller.account, caller.region):
        denied = iam_evaluator.enforce(
            caller.access_key_id,
            action,
            service,
            caller.region,
            resource_arn=resource,
            service_context=dict(conditions or {}),
        )
    if denied is None:
        return
    if isinstance(denied, iam_evaluator.AuthError):
        raise AccessDenied(denied.message)
    raise AccessDenied(_denial(caller.arn, action, resource, denied))


def require_of(
    cloud: Cloud,
    credentials: Credentials,
    action: str,
    resource: str = "*",
    conditions: Mapping[str, str | list[str]] | None = None,
) -> None:
    """`require` for what a service does with credentials that it holds, such as an execution role's.

    Raises:
        AccessDenied: with AWS's words.
    """
    key = credentials.access_key_id
    require(
        Caller(access_key_id=key, arn=key, account=cloud.account, region=cloud.region),
        action, resource, conditions,
    )  # fmt: skip


def _denial(principal: str, action: str, resource: str, denied: Any) -> str:
    if denied.resource_policy_arn:
        reason = "with an explicit deny in a resource-based policy"
    elif denied.decision == "Deny":
        reason = "with an explicit deny in an identity-based policy"
    else:
        reason = f"because no identity-based policy allows the {action} action"
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"


def require_pass_role(caller: Caller, role_arn: str, service: str) -> None:
    """Ask IAM whether the caller may hand this role to `service`, for example `sagemaker.amazonaws.com`.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html

    Raises:
        AccessDenied: no `iam:PassRole` on the role for that service.
        RoleNotFound: there is no such role.
    """
    require(caller, "iam:PassRole", role_arn, {"iam:PassedToService": service})
    if _role(role_arn) is None:
        raise RoleNotFound(role_arn)


def assume_role(
    role_arn: str,
    *,
    service: str,
    session: str,
    lifetime: timedelta = _SESSION_LIFETIME,
    source_arn: str | None = None,
) -> Credentials:
    """Credentials of a role, assumed by an AWS service as that role's trust policy must allow.

    Args:
        service: the service principal, for example `sagemaker.amazonaws.com`.
        session: name of the session, 2 to 64 characters, part of the caller's ARN.
        source_arn: of the resource for which the service acts, for `aws:SourceArn` in the trust policy.

    Raises:
        RoleNotAssumable: no such role, or it does not trust the service.
    """
    from ministack.services import sts

    role = _role(role_arn)
    if role is None or not role_trusts(role_arn, service, source_arn):
        raise RoleNotAssumable(role_arn, service)
    account, name = role_arn.split(":")[4], role["RoleName"]
    expiration = datetime.now(UTC) + lifetime
    credentials = Credentials(
        access_key_id="ASIA" + secrets.token_hex(8).upper(),
        secret_access_key=secrets.token_urlsafe(30),
        session_token=secrets.token_urlsafe(120),
        expiration=expiration,
    )
    sts.register_session(
        credentials.access_key_id,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            "UserId": f"{role['RoleId']}:{session}",
            "AccountId": account,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": expiration.timestamp(),
            "PrincipalType": "AssumedRole",
        },
    )
    return credentials


def role_trusts(role_arn: str, service: str, source_arn: str | None = None) -> bool:
    """Whether the role's trust policy lets an AWS service assume it for the resource `source_arn`."""
    from ministack.core import iam_evaluator

    role = _role(role_arn)
    if role is None:
        return False
    account = role_arn.split(":")[4]
    context = iam_evaluator.EvalContext(
        principal_arn="",
        principal_type="Service",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region="",
        # What AWS's services send along, against the confused deputy.
        service_context={"aws:sourceaccount": account}
        | ({"aws:sourcearn": source_arn} if source_arn else {}),
    )
    allowed = False
    for statement in _statements(role.get("AssumeRolePolicyDocument")):
        if not iam_evaluator._service_principal_matches(statement.get("Principal"), service):
            continue
        actions, excluded = _texts(statement.get("Action")), _texts(statement.get("NotAction"))
        if not iam_evaluator._action_matches("sts:AssumeRole", actions, excluded):
            continue
        if not iam_evaluator._conditions_met(statement.get("Condition") or {}, context):
            continue
        if statement.get("Effect") == "Deny":
            return False
        allowed = allowed or statement.get("Effect") == "Allow"
    return allowed


def _role(role_arn: str) -> dict[str, Any] | None:
    from ministack.services import iam

    parts = role_arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("role/"):
        return None
    role: dict[str, Any] | None = iam._roles.get_scoped(parts[4], None, parts[5].rsplit("/", 1)[-1])
    return role if role is not None and role.get("Arn") == role_arn else None


def _statements(document: str | dict[str, Any] | None) -> list[dict[str, Any]]:
    policy = json.loads(document) if isinstance(document, str) else document or {}
    statements = policy.get("Statement", [])
    return [statements] if isinstance(statements, dict) else list(statements)


def _texts(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
