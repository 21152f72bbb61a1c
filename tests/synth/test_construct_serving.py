"""Endpoints, scaling, deployment."""

from __future__ import annotations

import json
import re

import pytest
from aws_cdk import Duration
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Match, Template

from modelyard.registry import ModelRegistry
from modelyard.serving import (
    CanaryRules,
    EndpointScaling,
    ModelDeployer,
    ModelSource,
    MultiModelEndpoint,
    Rollout,
    Scaling,
    Variant,
)
from modelyard.serving.runtime.settings import Settings


def test_endpoint_loads_from_its_prefix(stack, endpoint):
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::SageMaker::Model",
        {
            "PrimaryContainer": {
                "Mode": "MultiModel",
                "ModelDataUrl": {"Fn::Join": ["", ["s3://", Match.any_value(), "/models/multi/"]]},
            }
        },
    )
    template.has_resource_properties("AWS::SageMaker::EndpointConfig", {"KmsKeyId": Match.any_value()})


def test_the_log_group_is_there_before_sagemaker_would_make_it(stack, endpoint):
    resources = Template.from_stack(stack).to_json()["Resources"]
    (group,) = (key for key, value in resources.items() if value["Type"] == "AWS::Logs::LogGroup")
    (made,) = (value for value in resources.values() if value["Type"] == "AWS::SageMaker::Endpoint")
    assert group in made["DependsOn"]
    name = resources[group]["Properties"]["LogGroupName"]
    assert name == "/aws/sagemaker/Endpoints/models"
    assert f"log-group:{name}:*" in json.dumps(resources)


# A key or a volume size for these is refused when the endpoint configuration is created.
@pytest.mark.parametrize(
    ("instance_type", "local"),
    [
        ("ml.m5.large", False),
        ("ml.c6i.large", False),
        ("ml.inf2.xlarge", False),
        ("ml.m5d.large", True),
        ("ml.c6gd.large", True),
        ("ml.g4dn.xlarge", True),
        ("ml.g5.xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("ml.p5en.48xlarge", True),
        ("ml.trn1.2xlarge", True),
    ],
)
def test_local_storage_takes_neither_key_nor_size(stack, data, image, instance_type, local):
    variant = Variant(instance_type=instance_type)
    MultiModelEndpoint(stack, "E", endpoint_name="m", image=image, data=data, variant=variant)
    (config,) = Template.from_stack(stack).find_resources("AWS::SageMaker::EndpointConfig").values()
    (production,) = config["Properties"]["ProductionVariants"]
    assert ("KmsKeyId" in config["Properties"]) is not local
    assert production.get("VolumeSizeInGB") == (None if local else 30)


def test_models_run_without_a_network(stack, endpoint):
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Model", {"EnableNetworkIsolation": True}
    )


def test_a_share_of_errors_rolls_an_update_back(stack, endpoint):
    """Five errors are nothing among thousands of requests, and all of them among five."""
    Template.from_stack(stack).has_resource_properties(
        "AWS::CloudWatch::Alarm",
        {"MetricName": "Invocation5XXErrors", "Statistic": "Average", "Threshold": 0.05, "Period": 60},
    )


def test_a_canary_takes_a_share(stack, data, image):
    MultiModelEndpoint(
        stack,
        "E",
        endpoint_name="m",
        image=image,
        data=data,
        rollout=Rollout(canary_percent=10, bake_seconds=60),
    )
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Endpoint",
        {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                        "WaitIntervalInSeconds": 60,
                    }
                }
            }
        },
    )


def test_invoking_names_models(endpoint, role):
    with pytest.raises(ValueError, match="needs target_models"):
        endpoint.grant_invoke(role, target_models=[])


def test_scaling_starts_within_its_bounds(stack, data, image):
    endpoint = MultiModelEndpoint(
        stack, "E", endpoint_name="m", image=image, data=data, variant=Variant(initial_instances=5)
    )
    with pytest.raises(ValueError, match="starts with 5 instances, outside of 1 to 4"):
        EndpointScaling(stack, "Scaling", endpoint=endpoint, scaling=Scaling())


def test_scaling_follows_the_endpoint(stack, endpoint):
    EndpointScaling(stack, "Scaling", endpoint=endpoint)
    Template.from_stack(stack).has_resource_properties(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        {
            "ServiceNamespace": "sagemaker",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "ResourceId": {
                "Fn::Join": ["", ["endpoint/", {"Fn::GetAtt": Match.any_value()}, "/variant/AllTraffic"]]
            },
            "RoleARN": Match.absent(),
        },
    )


def test_deployer_needs_something_to_deploy(stack, endpoint, data):
    with pytest.raises(ValueError, match="at least one ModelSource"):
        ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[])


def test_deployer_hears_of_every_change_and_looks_by_itself(stack, endpoint, data):
    names = ["one", "two", "three", "four", "five", "six"]
    sources = [
        ModelSource(registry=ModelRegistry(stack, name, group_name=name), artifacts=f"pipelines/{name}/")
        for name in names
    ]
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=sources)
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "source": ["aws.sagemaker"],
                "detail-type": ["SageMaker Model Package State Change"],
                "detail": {"ModelPackageGroupName": names},
            },
            "Targets": [
                Match.object_like({"DeadLetterConfig": Match.any_value(), "RetryPolicy": Match.any_value()})
            ],
        },
    )
    schedules = template.find_resources(
        "AWS::Events::Rule", {"Properties": {"ScheduleExpression": "rate(1 minute)"}}
    ).values()
    inputs = [[json.loads(t["Input"])["group"] for t in rule["Properties"]["Targets"]] for rule in schedules]
    assert inputs == [names[:5], names[5:]]  # EventBridge takes five targets a rule
    template.has_resource_properties(
        "AWS::Lambda::Function",
        {"Environment": {"Variables": {"GROUPS": ",".join(names)}}, "DeadLetterConfig": Match.any_value()},
    )
    template.has_resource_properties(
        "AWS::DynamoDB::Table",
        {
            "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": Match.any_value()},
            "DeletionProtectionEnabled": True,
        },
    )


def _source(stack):
    registry = ModelRegistry(stack, "Registry", group_name="one")
    return ModelSource(registry=registry, artifacts="pipelines/one/")


def test_the_deployer_reads_archives_and_nothing_else_of_a_pipeline(stack, endpoint, data):
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[_source(stack)])
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (deployer,) = (json.dumps(policy) for key, policy in policies.items() if "DeployerFunction" in key)
    assert re.findall(r"pipelines/[^\"]*", deployer) == ["pipelines/one/*/model.tar.gz"]


def _alarms(stack):
    found = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm").values()
    return {alarm["Properties"]["MetricName"]: alarm["Properties"] for alarm in found}


@pytest.mark.parametrize(("minutes", "interval"), [(None, 300), (1, 60), (480, 28_800)])
def test_the_deployer_is_watched(stack, endpoint, data, minutes, interval):
    deployer = ModelDeployer(
        stack,
        "Deployer",
        endpoint=endpoint,
        data=data,
        sources=[_source(stack)],
        interval=Duration.minutes(minutes) if minutes else None,
    )
    assert deployer.metric_errors().metric_name == "Errors"
    alarms = _alarms(stack)
    own = {"Namespace": "Modelyard/Deployer", "Dimensions": [{"Name": "Endpoint", "Value": "models"}]}
    # Ends by itself once nothing fails any more.
    expected = {**own, "Period": 2 * interval, "Threshold": 1, "TreatMissingData": "notBreaching"}
    assert expected.items() <= alarms["Failed"].items()
    # A function that does not run says nothing.
    expected = {**own, "Period": 3 * interval, "Threshold": 3 * interval, "TreatMissingData": "breaching"}
    assert expected.items() <= alarms["RecordAge"].items()
    expected = {"Namespace": "AWS/SQS", "Statistic": "Maximum", "Threshold": 1, "Period": 60}
    assert expected.items() <= alarms["ApproximateNumberOfMessagesVisible"].items()
    assert not any("AlarmActions" in alarm for alarm in alarms.values())


def test_the_deployers_alarms_tell_a_topic(stack, endpoint, data):
    topic = sns.Topic(stack, "Topic")
    ModelDeployer(
        stack, "Deployer", endpoint=endpoint, data=data, sources=[_source(stack)], alarm_topic=topic
    )
    reference = [stack.resolve(topic.topic_arn)]
    alarms = _alarms(stack)
    for name in ("Failed", "RecordAge", "ApproximateNumberOfMessagesVisible"):
        assert alarms[name]["AlarmActions"] == alarms[name]["OKActions"] == reference


@pytest.mark.parametrize("minutes", [0.5, 481])
def test_the_deployers_interval_fits_its_alarms(stack, endpoint, data, minutes):
    with pytest.raises(ValueError, match="1 minute to 8 hours"):
        ModelDeployer(
            stack,
            "Deployer",
            endpoint=endpoint,
            data=data,
            sources=[_source(stack)],
            interval=Duration.seconds(60 * minutes),
        )


def _deployers_statement(stack, action):
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (statements,) = (
        policy["Properties"]["PolicyDocument"]["Statement"]
        for key, policy in policies.items()
        if "DeployerFunction" in key
    )
    (found,) = (statement for statement in statements if action in statement["Action"])
    return found


def test_the_deployer_rejects_but_never_approves(stack, endpoint, data):
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[_source(stack)])
    statement = _deployers_statement(stack, "sagemaker:UpdateModelPackage")
    assert statement["Condition"] == {"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
    assert "model-package/one/*" in json.dumps(statement["Resource"])


def test_the_deployer_deletes_models_of_its_groups_and_nothing_else(stack, endpoint, data):
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[_source(stack)])
    statement = _deployers_statement(stack, "s3:DeleteObject")
    assert json.dumps(statement["Resource"]).endswith('"/models/multi/one/*"]]}')


def test_canaries_are_judged_as_told(stack, endpoint, data):
    rules = CanaryRules(bake_seconds=120, least_requests=30)
    ModelDeployer(
        stack,
        "Deployer",
        endpoint=endpoint,
        data=data,
        sources=[_source(stack)],
        canary=rules,
        grace=Duration.hours(2),
    )
    (function,) = [
        function["Properties"]
        for function in Template.from_stack(stack).find_resources("AWS::Lambda::Function").values()
        if "Keeps endpoint" in str(function["Properties"].get("Description"))
    ]
    settings = Settings.from_environment(
        {key: str(value) for key, value in function["Environment"]["Variables"].items()}
    )
    assert (settings.canary, settings.grace_seconds) == (rules, 7200)


def test_the_deployer_has_time_for_one_group(stack, endpoint, data):
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=data, sources=[_source(stack)])
    (timeout,) = [
        function["Properties"]["Timeout"]
        for function in Template.from_stack(stack).find_resources("AWS::Lambda::Function").values()
        if "Keeps endpoint" in str(function["Properties"].get("Description"))
    ]
    settings = Settings(endpoint_name="models", table_name="t", groups=("one",), artifact_bucket="b")
    assert timeout == settings.timeout_seconds
