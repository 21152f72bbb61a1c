"""Model package groups."""

from __future__ import annotations

import json

import pytest
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError

from modelyard.registry import ModelRegistry
from modelyard.registry.runtime.emptying import empty, may_be_emptied
from modelyard.storage import Retention


@pytest.mark.parametrize("name", ["", "-a", "a_b", "a" * 64])
def test_registry_refuses_bad_names(stack, name):
    with pytest.raises(ValueError, match="1 to 63 letters"):
        ModelRegistry(stack, "Registry", group_name=name)


def test_who_registers_cannot_approve(stack, role):
    ModelRegistry(stack, "Registry", group_name="models").grant_register(role)
    text = json.dumps(Template.from_stack(stack).find_resources("AWS::IAM::Policy"))
    assert "CreateModelPackage" in text
    assert "UpdateModelPackage" not in text


@pytest.mark.parametrize("may_approve", [False, True])
def test_registering_as_approved_is_a_grant_of_its_own(stack, role, may_approve):
    ModelRegistry(stack, "Registry", group_name="models").grant_register(role, may_approve=may_approve)
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    (statement,) = (
        statement
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "sagemaker:CreateModelPackage"
    )
    condition = {"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
    assert statement.get("Condition") == (None if may_approve else condition)


def test_versions_outlive_the_stack_unless_both_switches_say_otherwise(stack):
    ModelRegistry(stack, "Kept", group_name="kept")
    ModelRegistry(
        stack, "Gone", group_name="gone", retention=Retention(on_delete="destroy", data_may_be_deleted=True)
    )
    template = Template.from_stack(stack)
    policies = {
        group["Properties"]["ModelPackageGroupName"]: group["DeletionPolicy"]
        for group in template.find_resources("AWS::SageMaker::ModelPackageGroup").values()
    }
    assert policies == {"kept": "RetainExceptOnCreate", "gone": "Delete"}
    template.has_resource_properties("Custom::ModelPackageGroupEmptying", {"GroupName": "gone"})
    tagged = [
        group["Properties"]["ModelPackageGroupName"]
        for group in template.find_resources("AWS::SageMaker::ModelPackageGroup").values()
        if {"Key": "modelyard:empty-on-delete", "Value": "true"} in group["Properties"].get("Tags", [])
    ]
    assert tagged == ["gone"]


class _Registry:
    """SageMaker with two versions, of which one is gone already."""

    def __init__(self, group_error=None):
        self.group_error, self.deleted = group_error, []

    def get_paginator(self, name):
        assert name == "list_model_packages"
        return self

    def paginate(self, ModelPackageGroupName):
        if self.group_error:
            raise self.group_error
        yield {"ModelPackageSummaryList": [{"ModelPackageArn": f"{ModelPackageGroupName}/1"}]}
        yield {"ModelPackageSummaryList": [{"ModelPackageArn": f"{ModelPackageGroupName}/2"}]}

    def delete_model_package(self, ModelPackageName):
        if ModelPackageName.endswith("/1"):
            raise _error("ValidationException", f"ModelPackage {ModelPackageName} does not exist.")
        self.deleted.append(ModelPackageName)


def _error(code, message):
    return ClientError({"Error": {"Code": code, "Message": message}}, "operation")


def test_emptying_takes_every_version():
    registry = _Registry()
    assert empty(registry, "group") == 1
    assert registry.deleted == ["group/2"]


def test_emptying_what_is_gone_is_no_error():
    gone = _Registry(_error("ValidationException", "ModelPackageGroup group does not exist."))
    assert empty(gone, "group") == 0


def test_emptying_without_permission_is_an_error():
    with pytest.raises(ClientError, match="AccessDenied"):
        empty(_Registry(_error("AccessDeniedException", "not authorized")), "group")


class _Tags:
    def __init__(self, *tags, error=None):
        self.pages, self.error = [{"Tags": []}, {"Tags": list(tags)}], error

    def get_paginator(self, name):
        assert name == "list_tags"
        return self

    def paginate(self, ResourceArn):
        if self.error:
            raise self.error
        return iter(self.pages)


def test_only_a_tagged_group_may_be_emptied():
    tag = {"Key": "modelyard:empty-on-delete", "Value": "true"}
    assert may_be_emptied(_Tags({"Key": "a", "Value": "b"}, tag), "arn")
    assert not may_be_emptied(_Tags({**tag, "Value": "false"}), "arn")
    assert not may_be_emptied(_Tags(error=_error("ValidationException", "arn does not exist.")), "arn")
    with pytest.raises(ClientError, match="AccessDenied"):
        may_be_emptied(_Tags(error=_error("AccessDeniedException", "not authorized")), "arn")
