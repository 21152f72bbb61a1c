"""A new version of a function takes over step by step, on the template that goes to AWS."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials
from modelyard_client import ApiError, Client
from tests.local.support import fault, where_it_hangs

# A minute of AWS's in a second of ours.
CLOCK = 60
ROWS = [{"a": 1}]
GOOD = """
import json
def handle(event, context):
    body = {"model": "m", "version": VERSION, "predictions": [1], "request_id": context.aws_request_id}
    return {"statusCode": 200, "body": json.dumps(body)}
"""
BAD = """
def handle(event, context):
    raise RuntimeError("version VERSION")
"""
# What the inference function writes when it cannot answer now (`modelyard.inference.runtime`).
FAULTY = """
import json, time
def handle(event, context):
    metric = {"Namespace": "Modelyard/Inference", "Dimensions": [["Function", "FunctionVersion"]],
              "Metrics": [{"Name": "Faults", "Unit": "Count"}]}
    print(json.dumps({"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [metric]},
                      "Function": context.function_name, "FunctionVersion": context.function_version,
                      "Faults": 1}))
    return {"statusCode": 503, "body": json.dumps({"error": {"code": "not_ready", "message": "no"}})}
"""
HELD = {"when": "after", "hold_s": 600}
Build = Callable[..., str]


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Credentials]]:
    root = tmp_path_factory.mktemp("codedeploy") / "state"
    lifecycle.up(root, clock=CLOCK)
    try:
        yield connect(root)
    finally:
        result = lifecycle.down(root)
    assert result["ended"] == 0, (root / "logs" / "server.log").read_text()


@pytest.fixture(scope="module")
def build() -> Build:
    """Templates of a function with a URL and the library's release."""
    import json

    import aws_cdk as cdk
    from aws_cdk import aws_cloudwatch as cloudwatch
    from aws_cdk import aws_lambda as lambda_

    from modelyard.inference import FunctionRelease, Release
    from modelyard.runtime import metrics

    def template(version: int, code: str = GOOD, strategy: str = "LambdaCanary10Percent5Minutes") -> str:
        app = cdk.App(builtin_cloud_formation_validation=False)
        synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        stack = cdk.Stack(app, "Shifted", synthesizer=synthesizer)
        function = lambda_.Function(
            stack,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_11,
            handler="index.handle",
            code=lambda_.Code.from_inline(code.replace("VERSION", str(version))),
            # Lambda's own three seconds are less than a loaded machine may need to start a process.
            timeout=cdk.Duration.seconds(30),
        )
        current = function.current_version
        alias = lambda_.Alias(
            stack, "Live", alias_name="live", version=current, provisioned_concurrent_executions=1
        )
        names = {metrics.FUNCTION: function.function_name, metrics.FUNCTION_VERSION: current.version}
        FunctionRelease(
            stack,
            "Release",
            alias=alias,
            version=current,
            release=Release(strategy=strategy, p99_milliseconds=60_000, faults_per_minute=0),
            faults=cloudwatch.Metric(
                namespace=metrics.INFERENCE,
                metric_name=metrics.FAULTS,
                dimensions_map=names,
                statistic="Sum",
                period=cdk.Duration.minutes(1),
            ),
        )
        url = alias.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM)
        cdk.CfnOutput(stack, "Url", value=url.url)
        cdk.CfnOutput(stack, "FunctionName", value=function.function_name)
        return json.dumps(app.synth().get_stack_by_name("Shifted").template)

    return template


class Stack:
    """The deployed template."""

    def __init__(self, cloud: Cloud, admin: Credentials, build: Build, name: str) -> None:
        self.cloud, self.admin, self.build, self.name = cloud, admin, build, name
        self.cloudformation = cloud.client("cloudformation", admin)
        self.lambdas, self.codedeploy = cloud.client("lambda", admin), cloud.client("codedeploy", admin)
        self.cloudformation.create_stack(
            StackName=name, TemplateBody=build(1), Capabilities=["CAPABILITY_IAM"]
        )
        assert self.settled() == "CREATE_COMPLETE", self.reasons()
        (found,) = self.cloudformation.describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def update(self, version: int, client: Any = None, **built: Any) -> None:
        (client or self.cloudformation).update_stack(
            StackName=self.name, TemplateBody=self.build(version, **built), Capabilities=["CAPABILITY_IAM"]
        )

    def settled(self, seconds: float = 400) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            (found,) = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
            if not found["StackStatus"].endswith("_IN_PROGRESS"):
                return str(found["StackStatus"])
            time.sleep(0.1)
        raise AssertionError(f"{self.reasons()}\n{self.deployments()[:2]}\n{where_it_hangs(self.cloud)}")

    def reasons(self) -> list[str]:
        events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events]

    def alias(self) -> tuple[str, dict[str, float]]:
        found = self.lambdas.get_alias(FunctionName=self.outputs["FunctionName"], Name="live")
        return found["FunctionVersion"], found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})

    def resource(self, kind: str) -> str:
        found = self.cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        (name,) = [entry["PhysicalResourceId"] for entry in found if entry["ResourceType"] == kind]
        return str(name)

    @property
    def group(self) -> dict[str, str]:
        return {
            "applicationName": self.resource("AWS::CodeDeploy::Application"),
            "deploymentGroupName": self.resource("AWS::CodeDeploy::DeploymentGroup"),
        }

    def deployments(self) -> list[dict[str, Any]]:
        """Newest first."""
        found = self.codedeploy.list_deployments(**self.group)["deployments"]
        return [self.codedeploy.get_deployment(deploymentId=entry)["deploymentInfo"] for entry in found]

    def client(self) -> Client:
        keys = Keys(self.admin.access_key_id, self.admin.secret_access_key)
        return Client(self.outputs["Url"], credentials=keys, region=self.cloud.region)

    @contextmanager
    def traffic(self) -> Iterator[Counter[str]]:
        """Callers ask through the URL until the block ends; counted is which version answered."""
        answered: Counter[str] = Counter()
        over = threading.Event()

        def ask() -> None:
            with self.client() as client:
                while not over.is_set():
                    try:
                        answered[str(client.predict("m", ROWS).version)] += 1
                    except ApiError as error:
                        answered[error.code] += 1
                    time.sleep(0.02)

        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(ask) for _ in range(2)]
            try:
                yield answered
            finally:
                over.set()
            for done in running:
                done.result()


@pytest.fixture(scope="module")
def stack(
    fast: tuple[Cloud, Credentials], build: Build, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    patched = pytest.MonkeyPatch()
    patched.setenv("AWS_CA_BUNDLE", str(fast[0].ca_bundle))
    made = Stack(*fast, build, "shifted")
    yield made
    patched.undo()
    groups = made.group
    made.cloudformation.delete_stack(StackName="shifted")
    made.cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="shifted", WaiterConfig={"Delay": 1}
    )
    assert groups["applicationName"] not in made.codedeploy.list_applications()["applications"]


def until(look: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, look()
        time.sleep(0.05)


def test_the_first_version_serves_at_once(stack: Stack) -> None:
    assert stack.alias() == ("1", {})
    assert stack.deployments() == []
    info = stack.codedeploy.get_deployment_group(**stack.group)["deploymentGroupInfo"]
    assert info["deploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert len(info["alarmConfiguration"]["alarms"]) == 3
    config = stack.codedeploy.get_deployment_config(deploymentConfigName=info["deploymentConfigName"])
    assert config["deploymentConfigInfo"]["trafficRoutingConfig"] == {
        "type": "TimeBasedCanary",
        "timeBasedCanary": {"canaryPercentage": 10, "canaryInterval": 5},
    }


def test_an_update_shifts_a_tenth_and_then_all(stack: Stack) -> None:
    with stack.traffic() as answered:
        # Until CodeDeploy hears that its first step is made, the second one's time does not run.
        with fault(stack.cloud, service="lambda", operation="PUT", path="/aliases/live", **HELD):
            stack.update(2, strategy="LambdaCanary10Percent10Minutes")
            until(lambda: stack.alias() == ("1", {"2": 0.1}))
            # Provisioned environments stay with the alias, and their number cannot change now.
            function = stack.outputs["FunctionName"]
            with pytest.raises(ClientError, match="Alias with weights can not be used with Provisioned"):
                stack.lambdas.put_provisioned_concurrency_config(
                    FunctionName=function, Qualifier="live", ProvisionedConcurrentExecutions=2
                )
            until(lambda: answered["2"] > 0)
            assert stack.alias()[0] == "1"
            assert answered["2"] < answered["1"]
            begun = time.monotonic()
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        assert time.monotonic() - begun > 10 * 60 / CLOCK
        shifted = answered.copy()
        until(lambda: answered["2"] > shifted["2"] + 10)
        # The requests that were on their way when the alias went over.
        assert answered["1"] <= shifted["1"] + 2
    assert stack.alias() == ("2", {})
    assert set(answered) == {"1", "2"}
    (deployment,) = stack.deployments()
    assert (deployment["status"], deployment["creator"]) == ("Succeeded", "CloudFormation")
    found = stack.lambdas.get_provisioned_concurrency_config(FunctionName=function, Qualifier="live")
    assert found["RequestedProvisionedConcurrentExecutions"] == 1


def test_metrics_tell_versions_apart(stack: Stack) -> None:
    function = stack.outputs["FunctionName"]
    metrics = stack.cloud.client("cloudwatch", stack.admin).list_metrics(
        Namespace="AWS/Lambda", MetricName="Errors"
    )["Metrics"]
    versions = {
        dimensions.get("ExecutedVersion")
        for metric in metrics
        if (dimensions := {entry["Name"]: entry["Value"] for entry in metric["Dimensions"]}).get("Resource")
        == f"{function}:live"
    }
    assert versions == {None, "1", "2"}


def test_an_alarm_of_the_new_version_brings_the_old_one_back(stack: Stack) -> None:
    with stack.traffic() as answered:
        # So slow that it would take half an hour on AWS.
        stack.update(3, code=BAD, strategy="LambdaCanary10Percent30Minutes")
        assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE", stack.reasons()
        before = answered["2"]
        until(lambda: answered["2"] > before + 5)
    assert stack.alias() == ("2", {})
    # No caller noticed: the client asked again, and the old version answered.
    assert set(answered) == {"2"}
    (reason,) = [text for text in stack.reasons() if "ALARM_ACTIVE" in text]
    assert reason.startswith("Live")
    assert "Errors" in reason
    back, failed = stack.deployments()[:2]
    assert failed["status"] == "Stopped"
    assert failed["errorInformation"]["code"] == "ALARM_ACTIVE"
    assert failed["rollbackInfo"]["rollbackDeploymentId"] == back["deploymentId"]
    assert (back["creator"], back["status"]) == ("codeDeployRollback", "Succeeded")
    # And the group is as it was.
    info = stack.codedeploy.get_deployment_group(**stack.group)["deploymentGroupInfo"]
    assert info["deploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent10Minutes"


def test_answers_of_5xx_bring_the_old_version_back(stack: Stack) -> None:
    quiet(stack)
    with stack.traffic() as answered:
        stack.update(8, code=FAULTY, strategy="LambdaCanary10Percent30Minutes")
        assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE", stack.reasons()
        before = answered["2"]
        until(lambda: answered["2"] > before + 5)
    assert stack.alias() == ("2", {})
    assert set(answered) == {"2"}
    # It did answer, so that nothing else tells.
    rang = stack.deployments()[1]["errorInformation"]["message"]
    assert "ReleaseFaults" in rang
    assert "ReleaseErrors" not in rang
    quiet(stack)


def quiet(stack: Stack) -> None:
    """Wait for the alarms to end: a deployment that begins while one rings goes back at once."""
    cloudwatch = stack.cloud.client("cloudwatch", stack.admin)
    until(lambda: not cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"])


def test_a_deployment_that_somebody_stops_goes_back(stack: Stack) -> None:
    quiet(stack)
    stack.update(4, strategy="LambdaLinear10PercentEvery10Minutes")
    until(lambda: stack.alias()[1] != {})
    stack.codedeploy.stop_deployment(deploymentId=stack.deployments()[0]["deploymentId"])
    assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE", stack.reasons()
    assert stack.alias() == ("2", {})
    assert any("MANUAL_STOP" in reason for reason in stack.reasons())


def test_the_service_role_must_be_allowed_to_shift(stack: Stack) -> None:
    arn = stack.codedeploy.get_deployment_group(**stack.group)["deploymentGroupInfo"]["serviceRoleArn"]
    iam, name = stack.cloud.client("iam", stack.admin), arn.rpartition("/")[2]
    denial = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "lambda:UpdateAlias", '
        '"Resource": "*"}]}'
    )
    iam.put_role_policy(RoleName=name, PolicyName="denial", PolicyDocument=denial)
    try:
        stack.update(5)
        assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE", stack.reasons()
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="denial")
    assert stack.alias() == ("2", {})
    (reason,) = [text for text in stack.reasons() if "IAM_ROLE_PERMISSIONS" in text]
    assert "lambda:UpdateAlias" in reason


def test_who_deploys_must_be_allowed_to(stack: Stack) -> None:
    iam = stack.cloud.client("iam", stack.admin)
    iam.create_user(UserName="deployer")
    statements = '{"Effect": "Allow", "Action": ["cloudformation:*", "lambda:*", "iam:*"], "Resource": "*"}'
    document = f'{{"Version": "2012-10-17", "Statement": [{statements}]}}'
    iam.put_user_policy(UserName="deployer", PolicyName="policy", PolicyDocument=document)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    keys = Credentials(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
    stack.update(6, client=stack.cloud.client("cloudformation", keys))
    assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE", stack.reasons()
    assert any(
        "user/deployer is not authorized to perform: codedeploy:CreateDeployment" in reason
        for reason in stack.reasons()
    )


def test_an_update_that_shifts_all_at_once(stack: Stack) -> None:
    stack.update(7, strategy="LambdaAllAtOnce")
    assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
    with stack.client() as client:
        assert {client.predict("m", ROWS).version for _ in range(5)} == {7}
    assert stack.alias()[1] == {}
    assert stack.deployments()[0]["deploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"applicationName": "none", "deploymentGroupName": "none"}, "ApplicationDoesNotExistException"),
        ({"deploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException"),
        ({"revision": {"revisionType": "S3"}}, "InvalidRevisionException"),
        ({"deploymentConfigName": "Mine"}, "DeploymentConfigDoesNotExistException"),
    ],
)
def test_what_cannot_be_deployed_is_refused(stack: Stack, asked: dict[str, Any], code: str) -> None:
    revision = {"revisionType": "AppSpecContent", "appSpecContent": {"content": "{}"}}
    with pytest.raises(ClientError) as raised:
        stack.codedeploy.create_deployment(**{**stack.group, "revision": revision, **asked})
    assert raised.value.response["Error"]["Code"] == code
