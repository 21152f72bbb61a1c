"""Constructs work on a bucket that somebody else made, with a key or without."""

from __future__ import annotations

import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from modelyard.pipeline import PipelineData, PipelineDefinition, SageMakerPipeline
from modelyard.registry import ModelRegistry
from modelyard.serving import ModelDeployer, ModelSource, MultiModelEndpoint
from modelyard.storage import DataBucket, IDataBucket

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd"


def _lake(stack, *, key):
    return DataBucket.from_bucket(
        s3.Bucket.from_bucket_name(stack, "Lake", "data-lake"),
        key=kms.Key.from_key_arn(stack, "LakeKey", KEY) if key else None,
    )


def _definition(tmp_path, text):
    document = {
        "Version": "2020-12-01",
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": text}}],
    }
    (tmp_path / "definition.json").write_text(json.dumps(document))
    return PipelineDefinition(path=tmp_path / "definition.json")


@pytest.mark.parametrize("key", [True, False])
def test_everything_runs_on_it(stack, image, tmp_path, key):
    cdk.Validations.of(stack.node.root).add_plugins(AwsSolutionsChecks(stack.node.root))
    lake = _lake(stack, key=key)
    registry = ModelRegistry(stack, "Registry", group_name="models")
    SageMakerPipeline(
        stack,
        "Pipeline",
        name="nightly",
        definition=_definition(tmp_path, "${DataBucket} ${KmsKeyArn}" if key else "${DataBucket}"),
        data=PipelineData(bucket=lake, read=("raw/",), write=("pipelines/nightly/",)),
    )
    endpoint = MultiModelEndpoint(stack, "Endpoint", endpoint_name="models", image=image, data=lake)
    source = ModelSource(registry=registry, artifacts="pipelines/nightly/")
    ModelDeployer(stack, "Deployer", endpoint=endpoint, data=lake, sources=[source])

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::S3::Bucket", 0)
    template.resource_count_is("AWS::S3::BucketPolicy", 0)
    policies = json.dumps(template.find_resources("AWS::IAM::Policy"))
    assert ":s3:::data-lake/pipelines/nightly/*" in policies
    assert (KEY in policies) is key
    (config,) = template.find_resources("AWS::SageMaker::EndpointConfig").values()
    assert config["Properties"].get("KmsKeyId") == (KEY if key else None)
    (deployer,) = (
        function["Properties"]["Environment"]["Variables"]
        for function in template.find_resources("AWS::Lambda::Function").values()
        if "KMS_KEY_ARN" in json.dumps(function)
    )
    assert (deployer["ARTIFACT_BUCKET"], deployer["KMS_KEY_ARN"]) == ("data-lake", KEY if key else "")
    stack.node.root.synth()  # cdk-nag has nothing to say


def test_a_definition_that_wants_a_key_is_refused_without_one(stack, tmp_path):
    with pytest.raises(ValueError, match=r"no value for \$\{KmsKeyArn\}"):
        SageMakerPipeline(
            stack,
            "Pipeline",
            name="nightly",
            definition=_definition(tmp_path, "${KmsKeyArn}"),
            data=PipelineData(bucket=_lake(stack, key=False)),
        )


def test_a_bucket_of_the_app_knows_its_key(stack):
    key = kms.Key(stack, "Key")
    bucket = s3.Bucket(stack, "Bucket", encryption_key=key)
    data = DataBucket.from_bucket(bucket)
    assert isinstance(data, IDataBucket)
    assert data.key is not None
    assert data.key.key_arn == key.key_arn


def test_our_own_is_one(data):
    assert isinstance(data, IDataBucket)
