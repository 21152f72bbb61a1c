"""Custom resources of the app: what CloudFormation and Lambda are told about them."""

from __future__ import annotations

import pytest


def _functions(assembly):
    """Service timeout, and the function, of every custom resource."""
    for template in assembly.templates.values():
        resources = template["Resources"]
        for resource in resources.values():
            if resource["Type"].startswith("Custom::"):
                name, attribute = resource["Properties"]["ServiceToken"]["Fn::GetAtt"]
                assert attribute == "Arn"
                yield int(resource["Properties"]["ServiceTimeout"]), name, resources


def _async_settings(name, resources):
    (settings,) = (
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig"
        and resource["Properties"]["FunctionName"] == {"Ref": name}
    )
    return settings


@pytest.mark.parametrize("stage", ["local", "prod"])
def test_a_function_never_acts_on_a_stack_that_has_gone_on_without_it(synthesize, stage):
    """What begins at the last moment ends within CloudFormation's patience, and nothing is repeated."""
    found = list(_functions(synthesize(stage)))
    assert found
    for patience, name, resources in found:
        settings = _async_settings(name, resources)
        assert settings["MaximumRetryAttempts"] == 0
        latest = settings["MaximumEventAgeInSeconds"] + resources[name]["Properties"]["Timeout"]
        assert latest <= patience


@pytest.mark.parametrize("stage", ["local", "prod"])
def test_functions_outlive_their_custom_resources(synthesize, stage):
    """With role, permissions and log: a deletion needs all of them."""
    for template in synthesize(stage).templates.values():
        resources = template["Resources"]
        for resource in resources.values():
            if resource["Type"].startswith("Custom::"):
                name, _ = resource["Properties"]["ServiceToken"]["Fn::GetAtt"]
                properties = resources[name]["Properties"]
                role, _ = properties["Role"]["Fn::GetAtt"]
                log = properties["LoggingConfig"]["LogGroup"]["Ref"]
                policies = {
                    key
                    for key, policy in resources.items()
                    if policy["Type"] == "AWS::IAM::Policy"
                    and {"Ref": role} in policy["Properties"]["Roles"]
                    and "Permissions" not in key
                }
                assert {name, role, log} | policies <= set(resource["DependsOn"])
                assert any("Permissions" in key for key in resource["DependsOn"])
