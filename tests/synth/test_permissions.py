"""Grants that are collected in one policy."""

from __future__ import annotations

import json

import pytest
from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from constructs import Construct

from modelyard.permissions import allow, in_one_policy, merged


def _policies(stack):
    return [
        policy["Properties"]
        for policy in Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    ]


def test_what_a_block_allows_is_one_policy_in_few_statements(stack, role):
    with in_one_policy(role, "Permissions"):
        allow(role, actions=["s3:PutObject"], resources=["arn:aws:s3:::b/raw"])
        allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw"])
        allow(
            role, actions=["s3:ListBucket"], resources=["arn:aws:s3:::b"], conditions={"Null": {"k": "true"}}
        )
    (policy,) = _policies(stack)
    assert policy["PolicyName"] == "Permissions"
    assert policy["Roles"] == [stack.resolve(role.role_name)]
    assert policy["PolicyDocument"]["Statement"] == [
        {"Action": ["s3:GetObject", "s3:PutObject"], "Effect": "Allow", "Resource": "arn:aws:s3:::b/raw"},
        {
            "Action": "s3:ListBucket",
            "Condition": {"Null": {"k": "true"}},
            "Effect": "Allow",
            "Resource": "arn:aws:s3:::b",
        },
    ]


def test_references_across_stacks_become_imports(stack, data):
    consumer = Stack(stack.node.scope, "Consumer")
    role = iam.Role(consumer, "Role", assumed_by=iam.AccountRootPrincipal())
    with in_one_policy(role, "Permissions"):
        data.grant_read(role, "raw/")
    (policy,) = _policies(consumer)
    text = json.dumps(policy["PolicyDocument"])
    assert "Fn::ImportValue" in text
    assert "Token" not in text


def test_a_second_policy_of_the_same_name_is_refused(stack, role):
    """IAM knows a role's policies by name: one would overwrite the other."""
    with in_one_policy(role, "Permissions"):
        allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw"])
    with (
        pytest.raises(ValueError, match="policy Permissions: the role has one of that name"),
        in_one_policy(role, "Permissions"),
    ):
        pass


def test_a_policy_of_another_scope_has_another_name(stack, role):
    """A scope that is renamed must not lose it: the new one is there before the old one is deleted."""
    for scope in ("Old", "New"):
        with in_one_policy(role, "Permissions", scope=Construct(stack, scope)):
            allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw"])
    names = [policy["PolicyName"] for policy in _policies(stack)]
    assert len(set(names)) == 2
    assert all(name.startswith("Permissions-") for name in names)


def test_names_are_cut_to_iams_length_and_stay_different(stack, role):
    for ending in ("a", "b"):
        with in_one_policy(role, f"Permissions-{'p' * 200}-{ending}"):
            allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw"])
    names = [policy["PolicyName"] for policy in _policies(stack)]
    assert len(set(names)) == 2
    assert {len(name) for name in names} == {128}


def test_a_block_that_allows_nothing_makes_no_policy(stack, role):
    with in_one_policy(role, "Permissions") as permissions:
        pass
    assert permissions.policy is None
    assert _policies(stack) == []


def test_a_block_that_fails_grants_nothing_and_collects_no_more(stack, role):
    def fail_halfway():
        with merged(role):
            allow(role, actions=["s3:PutObject"], resources=["arn:aws:s3:::b/raw"])
            allow(role, actions=["s3:*"], resources=["arn:aws:s3:::b"])

    with pytest.raises(ValueError, match="written out"):
        fail_halfway()
    allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw"])
    (policy,) = _policies(stack)
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "s3:GetObject"
