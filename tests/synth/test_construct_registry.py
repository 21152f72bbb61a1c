"""Model package groups."""

from __future__ import annotations

import json

import pytest
from aws_cdk.assertions import Template

from modelyard.registry import ModelRegistry


@pytest.mark.parametrize("name", ["", "-a", "a_b", "a" * 64])
def test_registry_refuses_bad_names(stack, name):
    with pytest.raises(ValueError, match="1 to 63 letters"):
        ModelRegistry(stack, "Registry", group_name=name)


def test_who_registers_cannot_approve(stack, role):
    ModelRegistry(stack, "Registry", group_name="models").grant_register(role)
    text = json.dumps(Template.from_stack(stack).find_resources("AWS::IAM::Policy"))
    assert "CreateModelPackage" in text
    assert "UpdateModelPackage" not in text
