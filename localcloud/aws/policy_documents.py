"""What IAM says about a policy document before it takes it: grammar and length.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Document = str | dict[str, Any]

_SYNTAX = "Syntax errors in policy."
_SID = (
    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
    "[0-9A-Za-z]*"
)
_VERSIONS = ("2012-10-17", "2008-10-17")
_IDENTITY = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_TRUST = {"Sid", "Effect", "Principal", "Action", "NotAction", "Condition"}
_ACTION = re.compile(r"(?P<vendor>[^:]+):(?P<name>[A-Za-z0-9*?]+)")
_OPERATOR = re.compile(
    r"(ForAllValues:|ForAnyValue:)?"
    r"(String(Not)?(Equals(IgnoreCase)?|Like)|Numeric(Not)?Equals|Numeric(Less|Greater)Than(Equals)?"
    r"|Date(Not)?Equals|Date(Less|Greater)Than(Equals)?|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like))"
    r"(IfExists)?|Null",
    re.IGNORECASE,
)
_PRINCIPALS = {"AWS", "Service", "Federated", "CanonicalUser"}


def length(document: Document) -> int:
    """Characters that count: all but white space."""
    text = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
    return len(re.sub(r"\s", "", text))


def identity_fault(document: Document) -> str | None:
    """What is wrong with a policy for a user, group or role, in IAM's words; None if nothing."""
    return _fault(document, _IDENTITY, _identity_statement)


def trust_fault(document: Document, exists: Callable[[str], bool]) -> str | None:
    """What is wrong with a role's trust policy.

    Args:
        exists: whether there is a principal of this ARN.
    """
    return _fault(document, _TRUST, lambda statement: _trust_statement(statement, exists))


def _fault(
    document: Document, elements: set[str], check: Callable[[dict[str, Any]], str | None]
) -> str | None:
    try:
        policy = json.loads(document) if isinstance(document, str) else document
    except ValueError:
        return "This policy contains invalid Json"
    if not isinstance(policy, dict) or set(policy) - {"Version", "Id", "Statement"}:
        return _SYNTAX
    if policy.get("Version", _VERSIONS[0]) not in _VERSIONS:
        return "Policy document must be version 2012-10-17 or greater."
    return _statements_fault(policy.get("Statement"), elements, check)


def _statements_fault(
    given: Any, elements: set[str], check: Callable[[dict[str, Any]], str | None]
) -> str | None:
    statements = [given] if isinstance(given, dict) else given
    if not isinstance(statements, list) or not statements:
        return _SYNTAX
    for statement in statements:
        if not isinstance(statement, dict):
            return _SYNTAX
        if found := _statement(statement, elements) or check(statement):
            return found
    names = [statement["Sid"] for statement in statements if statement.get("Sid")]
    return None if len(names) == len(set(names)) else "Statement IDs (SID) in a single policy must be unique."


def _statement(statement: dict[str, Any], elements: set[str]) -> str | None:
    """What holds for statements of every kind."""
    if elements is _IDENTITY and {"Principal", "NotPrincipal"} & set(statement):
        return "Policy document should not specify a principal."
    for resource in ("Resource", "NotResource"):
        if elements is _TRUST and resource in statement:
            return f"Has prohibited field {resource}"
    if set(statement) - elements or statement.get("Effect") not in ("Allow", "Deny"):
        return _SYNTAX
    if not re.fullmatch(r"[0-9A-Za-z]*", str(statement.get("Sid", ""))):
        return _SID
    actions = texts(statement.get("Action", statement.get("NotAction")))
    if not actions or {"Action", "NotAction"} <= set(statement):
        return "Policy statement must contain actions."
    return next((found for found in map(_action, actions) if found), None) or _condition(
        statement.get("Condition", {})
    )


def _action(action: str) -> str | None:
    if action == "*":
        return None
    if ":" not in action:
        return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
    found = _ACTION.fullmatch(action)
    vendor = action.partition(":")[0]
    if not re.fullmatch(r"[A-Za-z0-9-]+", vendor):
        return f"Vendor {vendor} is not valid"
    return None if found else _SYNTAX


def _condition(condition: Any) -> str | None:
    if not isinstance(condition, dict):
        return _SYNTAX
    for operator, keys in condition.items():
        if not _OPERATOR.fullmatch(operator):
            return f"Invalid Condition type : {operator}."
        if not isinstance(keys, dict):
            return _SYNTAX
        for key in keys:
            if ":" not in key:
                return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
    return None


def _identity_statement(statement: dict[str, Any]) -> str | None:
    if ("Resource" in statement) == ("NotResource" in statement):
        return "Policy statement must contain resources."
    resources = texts(statement.get("Resource", statement.get("NotResource")))
    if not resources:
        return "Policy statement must contain resources."
    for resource in resources:
        if resource != "*" and not re.match(r"arn:[^:]*:", resource):
            return f'Resource {resource} must be in ARN format or "*".'
        if resource != "*" and resource.count(":") < 5 and "*" not in resource:
            return "The policy failed legacy parsing"
    return None


def _trust_statement(statement: dict[str, Any], exists: Callable[[str], bool]) -> str | None:
    actions = texts(statement.get("Action", statement.get("NotAction")))
    if any(action.partition(":")[0].lower() != "sts" for action in actions):
        return "AssumeRole policy may only specify STS AssumeRole actions."
    principal = statement.get("Principal")
    if principal is None:
        return "Missing required field Principal"
    if principal == "*":
        return None
    if not isinstance(principal, dict) or not principal or set(principal) - _PRINCIPALS:
        return _SYNTAX
    for kind, value in principal.items():
        for name in texts(value) or [""]:
            if not _possible(kind, name, exists):
                return f'Invalid principal in policy: "{kind}":"{name}"'
    return None


def _possible(kind: str, name: str, exists: Callable[[str], bool]) -> bool:
    if kind == "Service":
        return (
            re.fullmatch(r"[a-z0-9.-]+\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)", name) is not None
        )
    if kind == "AWS":
        return name == "*" or re.fullmatch(r"\d{12}", name) is not None or exists(name)
    return bool(name)


def texts(value: Any) -> list[str]:
    """One or several texts of a policy as a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]
