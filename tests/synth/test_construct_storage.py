"""Data buckets: safe by default, granted by prefix."""

from __future__ import annotations

import pytest
from aws_cdk.assertions import Match, Template

from modelyard.storage import DataBucket, Retention


def test_bucket_is_safe_by_default(stack, data):
    template = Template.from_stack(stack)
    template.has_resource(
        "AWS::S3::Bucket",
        {
            "DeletionPolicy": "Retain",
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


def test_buckets_that_may_go_are_emptied_by_one_function(stack):
    retention = Retention(on_delete="destroy", data_may_be_deleted=True)
    DataBucket(stack, "One", retention=retention)
    DataBucket(stack, "Two", retention=retention)
    template = Template.from_stack(stack)
    template.resource_count_is("Custom::BucketEmptying", 4)
    template.resource_count_is("AWS::Lambda::Function", 2)  # ours, and CDK's framework


@pytest.mark.parametrize("prefix", ["raw", "/raw/", "raw/*", "/", "*"])
def test_grants_want_folders(data, role, prefix):
    with pytest.raises(ValueError, match="is not a folder"):
        data.grant_read(role, prefix)


def test_grants_want_a_prefix(data, role):
    with pytest.raises(ValueError, match="at least one prefix"):
        data.grant_write(role)


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


def test_emptier_deletes_every_version():
    from modelyard.storage.runtime.emptying import EmptyingError, empty

    class Paginator:
        def paginate(self, Bucket):
            yield {
                "Versions": [{"Key": "a", "VersionId": "1"}],
                "DeleteMarkers": [{"Key": "a", "VersionId": "2"}],
            }
            yield {}

    class S3:
        def __init__(self, answer):
            self.answer, self.deleted = answer, []

        def get_paginator(self, name):
            assert name == "list_object_versions"
            return Paginator()

        def delete_objects(self, Bucket, Delete):
            self.deleted += Delete["Objects"]
            return self.answer

    s3 = S3({})
    assert empty(s3, "bucket") == 2
    assert s3.deleted == [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}]
    with pytest.raises(EmptyingError, match="1 objects of bucket could not be deleted; a: locked"):
        empty(S3({"Errors": [{"Key": "a", "Message": "locked"}]}), "bucket")
