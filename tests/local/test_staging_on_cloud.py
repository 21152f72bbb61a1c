"""The stage that mirrors the source system, on the local cloud, with what only it and prod have."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from localcloud import lifecycle
from localcloud.connect import client_environment, connect
from modelyard_cli.demo import commands
from modelyard_client import ApiError, Client
from tests.local.support import fault

pytestmark = [pytest.mark.loop, pytest.mark.timeout(1800)]

# The release of the function takes five minutes on AWS.
CLOCK = 60
INFERENCE = "modelyard-staging-inference"


def until(done: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Staging:
    """The deployed stage."""

    def __init__(self, state: Path, folder: Path) -> None:
        cloud, admin = connect(state)
        self.cloud, self.folder = cloud, folder
        self.environment = client_environment(cloud, admin)
        self.client: Callable[[str], Any] = lambda service: cloud.client(service, admin)
        self.session = boto3.Session(admin.access_key_id, admin.secret_access_key, region_name=cloud.region)

    def cdk(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        commands.cdk(
            *arguments,
            environment=self.environment if environment is None else environment,
            log=self.folder / f"{arguments[0]}.log",
            cwd=self.folder if arguments[0] == "bootstrap" else commands.ROOT,
        )

    def outputs(self, stack: str) -> dict[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def status(self, stack: str) -> str:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return str(found["StackStatus"])

    def resource(self, kind: str) -> str:
        """Name of the inference stack's only resource of a type."""
        found = self.client("cloudformation").describe_stack_resources(StackName=INFERENCE)["StackResources"]
        (name,) = [entry["PhysicalResourceId"] for entry in found if entry["ResourceType"] == kind]
        return str(name)

    def alias(self) -> dict[str, Any]:
        function = self.resource("AWS::Lambda::Function")
        return dict(self.client("lambda").get_alias(FunctionName=function, Name="live"))


def test_deployed_released_and_destroyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly, state = str(tmp_path / "cdk.out"), tmp_path / "state"
    lifecycle.up(state, clock=CLOCK)
    try:
        stage = Staging(state, tmp_path)
        stage.cdk("synth", "--quiet", "-c", "env=staging", "--output", assembly, environment={})
        stage.cdk("bootstrap", f"aws://{stage.cloud.account}/{stage.cloud.region}")
        stage.cdk("deploy", "--all", "--app", assembly, "--require-approval", "never", "--concurrency", "4")
        stage.cdk("diff", "--app", assembly, "--fail")

        monkeypatch.setenv("AWS_CA_BUNDLE", str(stage.cloud.ca_bundle))
        everything_is_there(stage)
        a_new_version_of_the_function_takes_over(stage)
        stage.cdk("destroy", "--all", "--force", "--app", assembly)
        only_data_is_left(stage)
    finally:
        assert lifecycle.down(state)["ended"] == 0


def everything_is_there(stage: Staging) -> None:
    functions, function = stage.client("lambda"), stage.resource("AWS::Lambda::Function")
    assert functions.get_function_concurrency(FunctionName=function)["ReservedConcurrentExecutions"] == 100
    config = functions.get_provisioned_concurrency_config(FunctionName=function, Qualifier="live")
    assert config["RequestedProvisionedConcurrentExecutions"] == 3
    topic = stage.outputs("modelyard-staging-serving")["AlarmTopicArn"]
    alarms = stage.client("cloudwatch").describe_alarms(AlarmNamePrefix="modelyard-staging-")["MetricAlarms"]
    assert len(alarms) == 7
    for alarm in alarms:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    url = stage.outputs(INFERENCE)["FunctionUrl"]
    keys = stage.session.get_credentials()
    with (
        Client(url, credentials=keys, region=stage.cloud.region) as client,
        pytest.raises(ApiError) as raised,
    ):
        client.predict("staging-refinance-interest-rate", [{"a": 1}])
    assert raised.value.code == "model_not_deployed"


def a_new_version_of_the_function_takes_over(stage: Staging) -> None:
    stacks, codedeploy = stage.client("cloudformation"), stage.client("codedeploy")
    assert stage.alias()["FunctionVersion"] == "1"
    template = stacks.get_template(StackName=INFERENCE)["TemplateBody"]
    (function,) = (one for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Function")
    function["Properties"]["Description"] = "another version"
    # As CDK does: a version is a resource named by what it is of.
    text = re.sub(r"(CurrentVersion)[0-9A-Fa-f]{40,}", r"\1Another", json.dumps(template))
    # Until CodeDeploy hears that its first step is made, the second one's time does not run.
    held = {"operation": "PUT", "path": "/aliases/live", "when": "after", "hold_s": 600}
    with fault(stage.cloud, service="lambda", **held):
        stacks.update_stack(
            StackName=INFERENCE,
            TemplateBody=text,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": "BootstrapVersion", "UsePreviousValue": True}],
        )
        until(lambda: stage.alias().get("RoutingConfig", {}).get("AdditionalVersionWeights") == {"2": 0.1})
    until(lambda: not stage.status(INFERENCE).endswith("_IN_PROGRESS"))
    assert stage.status(INFERENCE) == "UPDATE_COMPLETE"
    assert stage.alias()["FunctionVersion"] == "2"
    (deployment,) = codedeploy.list_deployments(
        applicationName=stage.resource("AWS::CodeDeploy::Application"),
        deploymentGroupName=stage.resource("AWS::CodeDeploy::DeploymentGroup"),
    )["deployments"]
    found = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
    assert (found["status"], found["deploymentConfigName"]) == (
        "Succeeded",
        "CodeDeployDefault.LambdaCanary10Percent5Minutes",
    )


def only_data_is_left(stage: Staging) -> None:
    stacks = stage.client("cloudformation").describe_stacks()["Stacks"]
    assert [stack["StackName"] for stack in stacks] == ["CDKToolkit"]
    buckets = [bucket["Name"] for bucket in stage.client("s3").list_buckets()["Buckets"]]
    assert len([name for name in buckets if name.startswith("modelyard-staging-data-")]) == 2
    assert len(stage.client("dynamodb").list_tables()["TableNames"]) == 1
    assert stage.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert not stage.client("sagemaker").list_endpoints()["Endpoints"]
    assert not stage.client("sns").list_topics()["Topics"]
    assert not stage.client("lambda").list_functions()["Functions"]
