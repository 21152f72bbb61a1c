"""Data buckets: safe by default, granted by prefix."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template
from botocore.exceptions import ClientError

from modelyard.serving.record_table import RecordTable
from modelyard.storage import DataBucket, Lifecycle, Retention
from modelyard.storage.runtime.emptying import close, may_be_emptied


def test_bucket_is_safe_by_default(stack, data):
    template = Template.from_stack(stack)
    template.has_resource(
        "AWS::S3::Bucket",
        {
            "DeletionPolicy": "RetainExceptOnCreate",
            "Properties": {
                "VersioningConfiguration": {"Status": "Enabled"},
                "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
                "LoggingConfiguration": Match.any_value(),
                "LifecycleConfiguration": Match.any_value(),
            },
        },
    )
    template.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})
    template.resource_count_is("AWS::Lambda::Function", 0)
    for policy in template.find_resources("AWS::S3::BucketPolicy").values():
        denied = [
            s["Condition"]
            for s in policy["Properties"]["PolicyDocument"]["Statement"]
            if s["Effect"] == "Deny"
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denied
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied


def test_what_a_folder_s_owner_prunes_is_soon_gone(stack):
    DataBucket(stack, "Data", lifecycle=Lifecycle(noncurrent_days=365, pruned_days={"training-jobs/": 1}))
    buckets = [one["Properties"] for one in _resources(stack).values() if one["Type"] == "AWS::S3::Bucket"]
    (data,) = (bucket for bucket in buckets if "VersioningConfiguration" in bucket)
    whole, pruned = data["LifecycleConfiguration"]["Rules"]
    assert "Prefix" not in whole
    assert whole["NoncurrentVersionExpiration"] == {"NoncurrentDays": 365}
    assert pruned == {
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "Prefix": "training-jobs/",
        "Status": "Enabled",
    }


@pytest.mark.parametrize(("days", "words"), [({"jobs": 1}, "is not a folder"), ({"jobs/": 0}, "pruned_days")])
def test_impossible_prunings_are_refused(days, words):
    with pytest.raises(ValueError, match=words):
        Lifecycle(pruned_days=days)


def test_what_is_kept_is_kept_whole_but_not_what_a_failed_creation_leaves(stack, data):
    """With its policy, and its keys; left behind by a failed first deployment it would block the next one."""
    RecordTable(stack, "Records")
    kept = {"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::DynamoDB::Table"}
    found = [r for r in _resources(stack).values() if r["Type"] in kept]
    assert len(found) == 7
    policies = {(r["DeletionPolicy"], r["UpdateReplacePolicy"]) for r in found}
    assert policies == {("RetainExceptOnCreate", "Retain")}


def test_buckets_that_may_go_are_emptied_by_one_function(stack):
    retention = Retention(on_delete="destroy", data_may_be_deleted=True)
    DataBucket(stack, "One", retention=retention)
    DataBucket(stack, "Two", retention=retention)
    template = Template.from_stack(stack)
    template.resource_count_is("Custom::BucketEmptying", 4)
    template.resource_count_is("AWS::Lambda::Function", 1)


@pytest.mark.parametrize("prefix", ["raw", "/raw/", "raw/*", "/", "*"])
def test_grants_want_folders(data, role, prefix):
    with pytest.raises(ValueError, match="is not a folder"):
        data.grant_read(role, prefix)


def test_grants_want_a_prefix(data, role):
    with pytest.raises(ValueError, match="at least one prefix"):
        data.grant_write(role)


def test_objects_are_read_without_listing(stack, data, role):
    data.grant_get(role, "pipelines/one/*/model.tar.gz")
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    get, decrypt = policy["Properties"]["PolicyDocument"]["Statement"]
    assert (get["Action"], decrypt["Action"]) == ("s3:GetObject", "kms:Decrypt")
    assert get["Resource"]["Fn::Join"][1][-1] == "/pipelines/one/*/model.tar.gz"


@pytest.mark.parametrize("key", ["*", "*/model.tar.gz", "/raw/x", ""])
def test_objects_lie_in_a_folder(data, role, key):
    with pytest.raises(ValueError, match="is not a folder"):
        data.grant_get(role, key)


def test_reading_is_not_writing(stack, data, role):
    data.grant_read(role, "raw/")
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    actions = {
        action
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }
    assert actions == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}


def test_the_tag_that_lets_a_bucket_be_emptied_goes_with_the_deletion_policy(new_app):
    def tags(retention):
        stack = cdk.Stack(new_app(), "Test")
        DataBucket(stack, "Data", retention=retention)
        buckets = Template.from_stack(stack).find_resources("AWS::S3::Bucket").values()
        return [bucket["Properties"].get("Tags", []) for bucket in buckets]

    destroy = Retention(on_delete="destroy", data_may_be_deleted=True)
    assert tags(destroy) == [[{"Key": "modelyard:empty-on-delete", "Value": "true"}]] * 2
    assert tags(Retention()) == [[], []]


def _resources(stack):
    return Template.from_stack(stack).to_json()["Resources"]


def _needs(resources, logical_id):
    found = set(resources[logical_id].get("DependsOn", []))
    found |= set(re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"(\w+)"', json.dumps(resources[logical_id])))
    return {name for name in found if name in resources}


def _needs_in_the_end(resources, logical_id):
    found, ahead = set(), {logical_id}
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead |= _needs(resources, name) - found
    return found - {logical_id}


def test_logs_are_emptied_when_nothing_writes_them_any_more(stack):
    """CloudFormation deletes what needs something before what it needs."""
    DataBucket(stack, "Data", retention=Retention(on_delete="destroy", data_may_be_deleted=True))
    resources = _resources(stack)
    emptying = {k for k, v in resources.items() if v["Type"] == "Custom::BucketEmptying"}
    (logs,) = (name for name in emptying if name.startswith("DataAccessLogs"))
    (data,) = emptying - {logs}
    data_bucket = resources[data]["Properties"]["BucketName"]["Ref"]
    assert logs in _needs_in_the_end(resources, data_bucket)
    for name in emptying:
        policies = {k for k in _needs(resources, name) if resources[k]["Type"] == "AWS::IAM::Policy"}
        assert len(policies) == 1 + 1  # the handler's, and its own
        # The bucket's policy of the template goes first, so that nothing takes away the handler's.
        bucket = resources[name]["Properties"]["BucketName"]["Ref"]
        (policy,) = (
            k
            for k, v in resources.items()
            if v["Type"] == "AWS::S3::BucketPolicy" and v["Properties"]["Bucket"] == {"Ref": bucket}
        )
        assert name in _needs(resources, policy)


def _error(code):
    return ClientError({"Error": {"Code": code, "Message": "refused"}}, "operation")


class _Tagged:
    def __init__(self, answer):
        self.answer = answer

    def get_bucket_tagging(self, Bucket):
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"TagSet": self.answer}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([{"Key": "a", "Value": "b"}, {"Key": "modelyard:empty-on-delete", "Value": "true"}], True),
        ([{"Key": "modelyard:empty-on-delete", "Value": "false"}], False),
        (_error("NoSuchTagSet"), False),
        (_error("NoSuchBucket"), False),
    ],
)
def test_only_a_tagged_bucket_may_be_emptied(answer, expected):
    assert may_be_emptied(_Tagged(answer), "bucket") is expected


def test_a_bucket_whose_tags_are_secret_is_an_error():
    with pytest.raises(ClientError, match="AccessDenied"):
        may_be_emptied(_Tagged(_error("AccessDenied")), "bucket")


class _Policies:
    meta = SimpleNamespace(partition="aws-cn")

    def __init__(self, policy=None):
        self.policy, self.puts = policy, 0

    def get_bucket_policy(self, Bucket):
        if self.policy is None:
            raise _error("NoSuchBucketPolicy")
        return {"Policy": json.dumps(self.policy)}

    def put_bucket_policy(self, Bucket, Policy):
        self.policy, self.puts = json.loads(Policy), self.puts + 1


@pytest.mark.parametrize("before", [[], [{"Sid": "Tls", "Effect": "Deny"}]])
def test_closing_keeps_what_the_policy_says_and_is_done_once(before):
    s3 = _Policies({"Version": "2012-10-17", "Statement": before} if before else None)
    close(s3, "bucket")
    close(s3, "bucket")
    assert s3.puts == 1
    *kept, denied = s3.policy["Statement"]
    assert kept == before
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:PutObject")
    assert denied["Resource"] == "arn:aws-cn:s3:::bucket/*"
