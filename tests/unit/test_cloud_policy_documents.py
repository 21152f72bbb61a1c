"""Policies that IAM does not take, and its words for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.aws.policy_documents import identity_fault, length, trust_fault

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def document(*statements: Any, **more: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **more}


@pytest.mark.parametrize(
    "statement",
    [
        ALLOW,
        {"Effect": "Deny", "NotAction": ["s3:*", "KMS:Decrypt*", "*"], "NotResource": "*"},
        {**ALLOW, "Resource": ["arn:aws:s3:::${aws:username}/*", "arn:*:s3:::b"], "Sid": "A1"},
        {
            **ALLOW,
            "Condition": {"ForAnyValue:StringLikeIfExists": {"aws:TagKeys": ["a"]}, "Null": {"a:b": True}},
        },
        {**ALLOW, "Condition": {"StringEquals": {}}, "Sid": ""},
    ],
)
def test_what_is_well_formed_is_taken(statement: dict[str, Any]) -> None:
    assert identity_fault(document(statement)) is None
    assert identity_fault(json.dumps({"Statement": statement})) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Action": "GetObject"}, "must be prefaced by a vendor"),
        ({"Action": ["s3:GetObject", "s*:GetObject"]}, "Vendor s* is not valid"),
        ({"Action": "s3:Get Object"}, "Syntax errors"),
        ({"Action": "s3:Get:Object"}, "Syntax errors"),
        ({"Action": []}, "must contain actions"),
        ({"NotAction": "s3:*"}, "must contain actions"),
        ({"Resource": "bucket"}, 'Resource bucket must be in ARN format or "*".'),
        ({"Resource": "arn:aws:s3"}, "legacy parsing"),
        ({"NotResource": "*"}, "must contain resources"),
        ({"Principal": "*"}, "should not specify a principal"),
        ({"Effect": "allow"}, "Syntax errors"),
        ({"Sid": "with space"}, "must be alpha-numeric"),
        ({"Conditions": {}}, "Syntax errors"),
        ({"Condition": {"StringIs": {"aws:a": "b"}}}, "Invalid Condition type : StringIs."),
        ({"Condition": {"StringEquals": {"region": "b"}}}, "must be prefaced by a vendor"),
    ],
)
def test_what_is_malformed_is_refused(change: dict[str, Any], words: str) -> None:
    assert words in str(identity_fault(document({**ALLOW, **change})))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{", "invalid Json"),
        ("[]", "Syntax errors"),
        (document(), "Syntax errors"),
        (document(ALLOW, Version="2012-10-18"), "must be version 2012-10-17"),
        (document(ALLOW, Statements=[]), "Syntax errors"),
        (document({**ALLOW, "Sid": "A"}, {**ALLOW, "Sid": "A"}), "must be unique"),
    ],
)
def test_what_is_wrong_with_a_whole_policy(policy: Any, words: str) -> None:
    assert words in str(identity_fault(policy))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "None"),
        ({"Principal": {"AWS": ["000000000000", "arn:known"]}}, "None"),
        ({"Principal": {"AWS": "arn:unknown"}}, 'Invalid principal in policy: "AWS":"arn:unknown"'),
        ({"Principal": {"Service": "lambda"}}, 'Invalid principal in policy: "Service":"lambda"'),
        ({"Principal": {"Services": "lambda.amazonaws.com"}}, "Syntax errors"),
        ({"Resource": "*"}, "Has prohibited field Resource"),
        ({"Action": "s3:GetObject"}, "may only specify STS AssumeRole actions"),
    ],
)
def test_trust_policies(change: dict[str, Any], words: str) -> None:
    fault = trust_fault(document({**TRUST, **change}), lambda arn: arn == "arn:known")
    assert words in str(fault)


def test_a_trust_policy_names_who_is_trusted() -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    assert trust_fault(document(statement), lambda _arn: True) == "Missing required field Principal"


def test_white_space_does_not_count() -> None:
    assert length('{ "a" :\n\t1 }') == length({"a": 1}) == 7
