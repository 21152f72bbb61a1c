"""cdk-nag as a gate that bites, and acknowledgements that reach no further than they say."""

from __future__ import annotations

import json
import re

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks

from app import compose
from modelyard.permissions import acknowledge, acknowledge_wildcards, allow
from modelyard.storage import DataBucket
from stacks.environments import environments

REASON = "Object keys are chosen at run time."


@pytest.fixture
def checked(new_app):
    app = new_app()
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


def _role(stack):
    return iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))


def _findings(app):
    """Ids of the findings with which cdk-nag stops the synthesis."""
    with pytest.raises(RuntimeError, match="ValidationFailed") as failure:
        app.synth()
    return set(re.findall(r"Acknowledge with 'AwsSolutions::([^\n]+)'", str(failure.value)))


def test_every_environment_passes(assembly):
    """Synthesis raises on what is not acknowledged; warnings must not pile up either."""
    report = json.loads((assembly.folder / "validation-report.json").read_text())
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []


def test_the_gate_bites(checked):
    s3.Bucket(cdk.Stack(checked, "Test"), "Bucket")
    assert _findings(checked) == {"AwsSolutions-S1", "AwsSolutions-S10"}


def test_the_app_has_the_gate_wherever_the_cdk_cli_runs_it(new_app):
    """The context of cdk.json, which the CLI passes on, switches it on."""
    app = new_app()
    compose(app, environments()["dev"])
    s3.Bucket(app.node.find_child("Data"), "Planted")
    assert _findings(app) == {"AwsSolutions-S1", "AwsSolutions-S10"}


def test_a_wildcard_without_reason_is_refused(stack):
    with pytest.raises(ValueError, match=r"s3:GetObject on arn:aws:s3:::b/raw/\*: say why"):
        allow(_role(stack), actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw/*"])


def test_an_action_with_wildcard_is_refused(stack):
    with pytest.raises(ValueError, match=r"written out, got s3:Get\*"):
        allow(_role(stack), actions=["s3:Get*"], resources=["arn:aws:s3:::b"], reason=REASON)


_ARN = "arn:aws:iam::111122223333:role/existing"


@pytest.mark.parametrize(
    "grantee",
    [
        lambda stack: iam.Role.from_role_arn(stack, "Imported", _ARN, mutable=False),
        lambda stack: iam.Role.from_role_arn(
            stack, "Imported", _ARN, mutable=False, add_grants_to_resources=True
        ),
        lambda stack: _role(stack).without_policy_updates(),
        lambda _: iam.AccountPrincipal("111122223333"),
        lambda stack: lambda_.Function.from_function_arn(
            stack, "Function", "arn:aws:lambda:eu-west-1:111122223333:function:existing"
        ),
    ],
)
def test_a_grant_that_would_be_lost_is_refused(stack, grantee):
    with pytest.raises(ValueError, match=r"s3:GetObject: .* takes no statements, so the grant would be lost"):
        allow(grantee(stack), actions=["s3:GetObject"], resources=["arn:aws:s3:::b"])


def test_who_takes_statements_gets_them_with_their_reason(checked):
    stack = cdk.Stack(checked, "Test")
    policy = iam.Policy(stack, "Policy", roles=[_role(stack)])
    for grantee in (policy, iam.Role.from_role_arn(stack, "Imported", _ARN)):
        allow(grantee, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw/*"], reason=REASON)
    template = checked.synth().get_stack_by_name("Test").template
    policies = [r for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy"]
    assert len(policies) == 2


def test_a_reason_covers_its_own_resource_only(checked):
    stack = cdk.Stack(checked, "Test")
    role = _role(stack)
    allow(role, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw/*"], reason=REASON)
    role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::b/*"]))
    assert _findings(checked) == {"AwsSolutions-IAM5[Resource::arn:aws:s3:::b/*]"}


def test_a_reason_covers_its_own_role_only(checked):
    stack = cdk.Stack(checked, "Test")
    allow(_role(stack), actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw/*"], reason=REASON)
    other = iam.Role(stack, "Other", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    other.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::b/raw/*"]))
    assert _findings(checked) == {"AwsSolutions-IAM5[Resource::arn:aws:s3:::b/raw/*]"}


@pytest.mark.parametrize("strength", ["strong", "weak"])
def test_reasons_hold_across_stacks(checked, strength):
    """The finding's name holds the reference in its final form, which differs by the references' strength."""
    checked.node.set_context("@aws-cdk/core:defaultCrossStackReferences", strength)
    data = DataBucket(cdk.Stack(checked, "Producer"), "Data")
    consumer = cdk.Stack(checked, "Consumer")
    data.grant_read_write(_role(consumer), "raw/")
    checked.synth()


def test_an_acknowledged_rule_stays_on_elsewhere(checked):
    stack = cdk.Stack(checked, "Test")
    bucket = s3.Bucket(stack, "Bucket", enforce_ssl=True)
    acknowledge(bucket, "AwsSolutions-S1", "Receives logs itself.")
    s3.Bucket(stack, "Other", enforce_ssl=True)
    assert _findings(checked) == {"AwsSolutions-S1"}


def test_acknowledged_wildcards_name_the_resource(checked):
    stack = cdk.Stack(checked, "Test")
    role = _role(stack)
    role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::b/*"]))
    acknowledge_wildcards(role, ["arn:aws:s3:::b/*"], REASON)
    checked.synth()


def test_acknowledgements(synthesize, snapshot):
    """Every rule that is not kept, where, and why: a reviewer reads each change of this list."""
    lines = set()
    for path in sorted(synthesize("prod").folder.glob("*.metadata.json")):
        for where, entries in json.loads(path.read_text()).items():
            for entry in entries:
                if entry["type"] == "aws:cdk:acknowledged-rules":
                    lines |= {f"{where}: {rule}: {reason}" for rule, reason in entry["data"].items()}
    assert lines
    assert sorted(lines) == snapshot
