"""What every environment deploys, and what differs between them."""

from __future__ import annotations

import json
import re

import pytest

from localcloud.containers.dockerfile import evaluate, parse
from pipeline_defs.catalog import IMAGES, PIPELINES
from stacks.environments import Environment, PipelineSettings, environments
from stacks.pipeline_stack import definition_of

STATEFUL = (
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::DynamoDB::Table",
    "AWS::SageMaker::ModelPackageGroup",
)


def test_stacks_say_what_they_are(assembly):
    assert list(assembly.templates) == ["data", "pipelines", "serving", "inference", "access"]
    for template in assembly.templates.values():
        assert template["Description"].startswith("Modelyard: ")


def test_people_and_tools_find_what_they_need(assembly):
    outputs = {name for template in assembly.templates.values() for name in template["Outputs"]}
    assert outputs >= {"DataBucketName", "EndpointName", "FunctionUrl", "RecordTableName"}
    assert outputs >= {"DataScientistRoleArn", "ModelApproverRoleArn"}


def test_only_prod_is_protected_from_deletion(assembly):
    manifest = json.loads((assembly.folder / "manifest.json").read_text())
    protected = {
        artifact["properties"].get("terminationProtection", False)
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    assert protected == {assembly.environment == "prod"}


def test_stacks_are_tagged(assembly):
    manifest = json.loads((assembly.folder / "manifest.json").read_text())
    for artifact in manifest["artifacts"].values():
        if artifact["type"] == "aws:cloudformation:stack":
            tags = artifact["properties"]["tags"]
            assert tags == {"project": "modelyard", "environment": assembly.environment}


def test_data_goes_with_the_stack_only_where_both_switches_are_on(assembly):
    throw_away = assembly.environment in ("local", "dev")
    policies = {
        resource.get("DeletionPolicy")
        for name in ("data", "pipelines", "serving")
        for logical_id, resource in assembly.templates[name]["Resources"].items()
        # Nothing is kept under the key of the alarms' topic.
        if resource["Type"] in STATEFUL and not logical_id.startswith("AlarmsKey")
    }
    assert policies == {"Delete" if throw_away else "RetainExceptOnCreate"}
    assert len(assembly.of_type("Custom::BucketEmptying")) == (2 if throw_away else 0)
    assert len(assembly.of_type("Custom::ModelPackageGroupEmptying")) == (len(PIPELINES) if throw_away else 0)
    assert assembly.one("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is not throw_away


def test_what_expires_outlives_the_step_cache_and_registered_versions_are_kept(assembly):
    expiring = {
        rule["Prefix"]: rule["ExpirationInDays"]
        for bucket in assembly.of_type("AWS::S3::Bucket").values()
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule and "ExpirationInDays" in rule
    }
    if assembly.environment in ("staging", "prod"):
        assert expiring == {}
        return
    for spec in PIPELINES:
        cached = re.findall(r'"ExpireAfter": "P(\d+)D"', spec.definition.read_text())
        assert cached
        assert expiring["pipelines/"] > max(map(int, cached))


def test_logs_are_not_kept_for_ever(assembly):
    groups = assembly.of_type("AWS::Logs::LogGroup").values()
    assert all(group["RetentionInDays"] <= 90 for group in groups)
    endpoint = assembly.one("AWS::SageMaker::Endpoint")["EndpointName"]
    names = [group["LogGroupName"] for group in groups if "LogGroupName" in group]
    assert names == [f"/aws/sagemaker/Endpoints/{endpoint}"]


def test_names_do_not_clash_between_stages_of_one_account(synthesize):
    def names(stage):
        assembly = synthesize(stage)
        kinds = {
            "AWS::SageMaker::Endpoint": "EndpointName",
            "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
            "Custom::SageMakerPipeline": "PipelineName",
        }
        return {
            (kind, properties[name])
            for kind, name in kinds.items()
            for properties in assembly.of_type(kind).values()
        }

    stages = [names(stage) for stage in ("local", "dev", "staging", "prod")]
    assert len(set().union(*stages)) == sum(len(found) for found in stages)
    assert ("AWS::SageMaker::Endpoint", "prod-modelyard") in stages[-1]


def test_a_stage_may_differ_in_the_parameters_of_a_pipeline():
    settings = PipelineSettings(parameters={PIPELINES[1].name: {"MseThreshold": "12.5"}})
    stage = Environment(name="local", pipelines=settings)
    assert definition_of(PIPELINES[1], stage).parameter_defaults["MseThreshold"] == "12.5"
    assert "MseThreshold" not in definition_of(PIPELINES[0], stage).parameter_defaults


def test_models_of_images_train_on_a_gpu_where_there_is_a_quota():
    (spec,) = [spec for spec in PIPELINES if spec.family.image == "vision"]
    types = {
        name: definition_of(spec, stage).parameter_defaults["TrainingInstanceType"]
        for name, stage in environments().items()
    }
    assert types == {
        "local": "ml.m5.xlarge",
        "local-training": "ml.m5.xlarge",
        "dev": "ml.m5.xlarge",
        "staging": "ml.g4dn.xlarge",
        "prod": "ml.g4dn.xlarge",
    }


def test_the_endpoint_takes_the_models_of_all_families(assembly):
    prefix = {"local": "", "dev": "dev-", "staging": "staging-", "prod": "prod-"}[assembly.environment]
    serving, inference = (json.dumps(assembly.templates[name]) for name in ("serving", "inference"))
    for spec in PIPELINES:
        assert prefix + spec.group in serving
        assert f"{prefix}{spec.group}/*.tar.gz" in inference


def test_pipelines_of_a_family_share_their_code_and_nothing_else(assembly):
    pipelines = list(assembly.of_type("Custom::SageMakerPipeline").values())
    families = {}
    for spec, pipeline in zip(PIPELINES, pipelines, strict=True):
        families.setdefault(spec.family.builder, []).append(pipeline["Values"])
    for spec in PIPELINES:
        values = families[spec.family.builder]
        for placeholder in spec.code:
            assert len({json.dumps(found[placeholder]) for found in values}) == 1
        for own in ("ExecutionRoleArn", "ModelPackageGroupName"):
            assert len({json.dumps(found[own]) for found in values}) == len(values)


@pytest.mark.parametrize(
    ("stage", "provisioned", "reserved"),
    [("local", None, None), ("dev", None, None), ("staging", 3, 100), ("prod", 3, 100)],
)
def test_concurrency(synthesize, stage, provisioned, reserved):
    assembly = synthesize(stage)
    alias = assembly.one("AWS::Lambda::Alias")
    assert alias["Name"] == "live"
    assert alias.get("ProvisionedConcurrencyConfig", {}).get("ProvisionedConcurrentExecutions") == provisioned
    functions = assembly.templates["inference"]["Resources"].values()
    (function,) = (item["Properties"] for item in functions if item["Type"] == "AWS::Lambda::Function")
    assert function.get("ReservedConcurrentExecutions") == reserved


@pytest.mark.parametrize(
    ("stage", "configuration"),
    [
        ("local", None),
        ("dev", None),
        ("staging", "CodeDeployDefault.LambdaCanary10Percent5Minutes"),
        ("prod", "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"),
    ],
)
def test_how_new_versions_of_the_function_take_over(synthesize, stage, configuration):
    assembly = synthesize(stage)
    groups = [
        group["DeploymentConfigName"]
        for group in assembly.of_type("AWS::CodeDeploy::DeploymentGroup").values()
    ]
    assert groups == ([configuration] if configuration else [])
    inference = assembly.templates["inference"]["Resources"].values()
    (alias,) = (resource for resource in inference if resource["Type"] == "AWS::Lambda::Alias")
    assert ("CodeDeployLambdaAliasUpdate" in alias.get("UpdatePolicy", {})) is bool(configuration)


@pytest.mark.parametrize(
    ("stage", "low", "high", "out", "inwards"),
    [
        ("local", 1, 4, 300, 300),
        ("dev", 1, 2, 300, 300),
        ("staging", 1, 4, 300, 30),
        ("prod", 2, 4, 300, 300),
    ],
)
def test_scaling(synthesize, stage, low, high, out, inwards):
    assembly = synthesize(stage)
    target = assembly.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (low, high)
    policy = assembly.one("AWS::ApplicationAutoScaling::ScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert (tracking["ScaleOutCooldown"], tracking["ScaleInCooldown"]) == (out, inwards)
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerVariantInvocationsPerInstance"


def test_an_update_of_the_endpoint_keeps_what_scaling_decided(assembly):
    endpoint = assembly.one("AWS::SageMaker::Endpoint")
    assert endpoint["RetainAllVariantProperties"] is True
    assert endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    (variant,) = assembly.one("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    target = assembly.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert target["MinCapacity"] <= variant["InitialInstanceCount"] <= target["MaxCapacity"]


def test_people_need_a_second_factor_where_data_is_kept(assembly):
    roles = [
        resource["Properties"]
        for resource in assembly.templates["access"]["Resources"].values()
        if resource["Type"] == "AWS::IAM::Role"
    ]
    assert len(roles) == 2
    for role in roles:
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        with_factor = statement.get("Condition") == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
        assert with_factor is (assembly.environment in ("staging", "prod"))


def test_who_makes_models_does_not_approve_them(assembly):
    def actions(role):
        return {
            action
            for logical_id, resource in assembly.templates["access"]["Resources"].items()
            if resource["Type"] == "AWS::IAM::Policy" and logical_id.startswith(role)
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]
            for action in [statement["Action"]]
            for action in ([action] if isinstance(action, str) else action)
        }

    scientist, approver = actions("DataScientist"), actions("ModelApprover")
    assert "sagemaker:UpdateModelPackage" not in scientist
    assert scientist - approver == {
        "kms:GenerateDataKey",
        "s3:ListBucket",
        "lambda:InvokeFunction",
        "lambda:InvokeFunctionUrl",
        "s3:AbortMultipartUpload",
        "s3:PutObject",
        "sagemaker:StartPipelineExecution",
        "sagemaker:StopPipelineExecution",
        # Jobs on hosts of the stage's own with their log, and the datasets for them.
        *(
            ["dynamodb:Query", "logs:GetLogEvents", "sqs:GetQueueAttributes", "sqs:SendMessage"]
            if environments()[assembly.environment].training
            else []
        ),
    }
    assert approver - scientist == {"sagemaker:UpdateModelPackage"}


def test_nothing_is_public(assembly):
    assert assembly.one("AWS::Lambda::Url")["AuthType"] == "AWS_IAM"
    for bucket in assembly.of_type("AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    for permission in assembly.of_type("AWS::Lambda::Permission").values():
        assert permission["Principal"] != "*"


def test_a_custom_resource_cannot_hang_a_stack_for_an_hour(assembly):
    for template in assembly.templates.values():
        for resource in template["Resources"].values():
            if resource["Type"].startswith("Custom::"):
                assert int(resource["Properties"]["ServiceTimeout"]) <= 900


def test_templates_name_no_account_and_no_region(assembly):
    for template in assembly.templates.values():
        text = json.dumps(template)
        assert not re.search(r"\b[a-z]{2}-[a-z]+-[1-9]\b", text)
        accounts = set(re.findall(r"\b[0-9]{12}\b", text))
        assert accounts <= ({"000000000000"} if assembly.environment == "local" else set())


def test_images_are_built_for_the_instances_not_for_the_machine_that_deploys(assembly):
    images = _docker_images(assembly)
    assert {image["source"]["dockerFile"] for image in images} == set(IMAGES.values())
    assert [image["source"]["platform"] for image in images] == ["linux/amd64"] * len(IMAGES)


def test_a_docker_build_gets_what_its_dockerfile_copies_and_nothing_else(assembly):
    for image in _docker_images(assembly):
        folder, dockerfile = assembly.folder / image["source"]["directory"], image["source"]["dockerFile"]
        recipe = evaluate(parse((folder / dockerfile).read_text()))
        copied = {source.rstrip("/") for copy in recipe.copies for source in copy.sources}
        assert {path.name for path in folder.iterdir()} == copied | {dockerfile}


def _docker_images(assembly):
    """Of the assets of all stacks."""
    manifests = [
        json.loads((assembly.folder / f"{_artifact(assembly, stack)}.assets.json").read_text())
        for stack in ("pipelines", "serving")
    ]
    return [image for manifest in manifests for image in manifest["dockerImages"].values()]


def test_a_changed_value_reaches_the_stacks_that_use_it(assembly):
    """Fn::GetStackOutput is read once, at the consumer's own update; an export in use cannot change."""
    for template in assembly.templates.values():
        assert "Fn::GetStackOutput" not in json.dumps(template)
    assert "Fn::ImportValue" in json.dumps(assembly.templates["serving"])


def _artifact(assembly, stack):
    """Id of a stack's artifact in the assembly."""
    manifest = json.loads((assembly.folder / "manifest.json").read_text())["artifacts"]
    return next(
        name
        for name, artifact in manifest.items()
        if artifact.get("properties", {}).get("stackName") == f"modelyard-{assembly.environment}-{stack}"
    )
