"""The alarms of the deployer ring, tell a topic, and end, each as docs/operations.md says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials

pytestmark = [pytest.mark.loop, pytest.mark.timeout(3000)]

CLOCK = 10
GROUP, STACK = "refinance", "modelyard-local-alarmed"
ASSETS = "cdk-hnb659fds-assets-000000000000-us-east-1"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/models:1"


def synthesize(folder: Path) -> dict[str, Any]:
    """The library's deployer and the app's topic, less the endpoint, which nothing here comes to ask."""
    import aws_cdk as cdk

    from modelyard.images import ContainerImage
    from modelyard.registry import ModelRegistry
    from modelyard.serving import ModelDeployer, ModelSource, MultiModelEndpoint
    from modelyard.storage import DataBucket
    from stacks.alarm_topic import AlarmTopic
    from stacks.environments import Environment

    app = cdk.App(outdir=str(folder), builtin_cloud_formation_validation=False)
    stack = cdk.Stack(app, "Alarmed", stack_name=STACK)
    data = DataBucket(stack, "Data")
    repository = "arn:aws:ecr:us-east-1:000000000000:repository/models"
    endpoint = MultiModelEndpoint(
        cdk.Stack(app, "NotDeployed"),
        "Endpoint",
        endpoint_name="models",
        image=ContainerImage(uri=IMAGE, repository_arn=repository),
        data=data,
    )
    topic = AlarmTopic(stack, "Alarms", environment=Environment(name="local")).topic
    registry = ModelRegistry(stack, "Registry", group_name=GROUP)
    deployer = ModelDeployer(
        stack,
        "Deployer",
        endpoint=endpoint,
        data=data,
        sources=[ModelSource(registry=registry, artifacts="pipelines/")],
        interval=cdk.Duration.minutes(1),
        alarm_topic=topic,
    )
    outputs = {
        "Bucket": data.bucket_name,
        "Function": deployer.function.function_name,
        "Letters": deployer.dead_letters.queue_url,
        **{f"{name}Alarm": getattr(deployer, name).alarm_name for name in ("failures", "letters", "stale")},
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    template = app.synth().get_stack_by_name(STACK).template
    # Which ask for a bootstrapped account.
    return {name: part for name, part in template.items() if name not in ("Parameters", "Rules")}


class World:
    """The deployed stack, with a queue that hears the topic."""

    def __init__(self, cloud: Cloud, admin: Credentials, folder: Path) -> None:
        self.client: Callable[[str], Any] = lambda service: cloud.client(service, admin)
        template, s3 = synthesize(folder), self.client("s3")
        s3.create_bucket(Bucket=ASSETS)
        manifest = json.loads((folder / "Alarmed.assets.json").read_text())
        for asset in manifest["files"].values():
            for place in asset["destinations"].values():
                body = (folder / asset["source"]["path"]).read_bytes()
                s3.put_object(Bucket=ASSETS, Key=place["objectKey"], Body=body)
        stacks = self.client("cloudformation")
        stacks.create_stack(
            StackName=STACK, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
        )
        stacks.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
        (found,) = stacks.describe_stacks(StackName=STACK)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
        topic, inbox = self.outputs["AlarmTopicArn"], f"arn:aws:sqs:{cloud.region}:{cloud.account}:inbox"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": inbox,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = self.client("sqs").create_queue(QueueName="inbox", Attributes={"Policy": policy})
        self.inbox = made["QueueUrl"]
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox)
        self._told: list[tuple[str, str]] = []

    def look(self, **event: Any) -> None:
        """Have the deployer look, as its schedule does, which keeps to the real time."""
        payload = json.dumps({"group": GROUP, "onlyIfDue": True, **event})
        with suppress(ClientError):
            self.client("lambda").invoke(FunctionName=self.outputs["Function"], Payload=payload)

    @contextmanager
    def schedule(self) -> Iterator[None]:
        """The deployer looks every second until the block ends."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(1):
                self.look()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def becomes(self, alarm: str, state: str) -> None:
        """Wait until an alarm is in a state, and the topic has heard of it."""
        name, deadline = self.outputs[f"{alarm}Alarm"], time.monotonic() + 400
        cloudwatch = self.client("cloudwatch")
        while True:
            (found,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
            last = next((heard for one, heard in reversed(self.told()) if one == name), "OK")
            if (found["StateValue"], last) == (state, state):
                return
            assert time.monotonic() < deadline, (found["StateValue"], last, found.get("StateReason"))
            time.sleep(0.5)

    def told(self) -> list[tuple[str, str]]:
        """What the topic has told so far: an alarm's name, and what it became."""
        sqs = self.client("sqs")
        for message in sqs.receive_message(QueueUrl=self.inbox, MaxNumberOfMessages=10).get("Messages", []):
            body = json.loads(json.loads(message["Body"])["Message"])
            self._told.append((body["AlarmName"], body["NewStateValue"]))
            sqs.delete_message(QueueUrl=self.inbox, ReceiptHandle=message["ReceiptHandle"])
        return self._told


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("alarmed")
    lifecycle.up(folder / "state", clock=CLOCK)
    try:
        yield World(*connect(folder / "state"), folder / "cdk.out")
    finally:
        result = lifecycle.down(folder / "state")
    assert result["ended"] == 0, (folder / "state" / "logs" / "server.log").read_text()


def test_a_group_that_is_not_as_the_registry_wants_it(world: World) -> None:
    sagemaker, bucket = world.client("sagemaker"), world.outputs["Bucket"]
    world.client("s3").put_object(Bucket=bucket, Key="pipelines/1/model.tar.gz", Body=b"no archive")
    model = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/pipelines/1/model.tar.gz"}
    package = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [model],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    with world.schedule():
        world.becomes("failures", "OK")
        sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
        world.becomes("failures", "ALARM")
        sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
        world.becomes("failures", "OK")


def test_letters_that_nobody_has_read(world: World) -> None:
    sqs, queue = world.client("sqs"), world.outputs["Letters"]
    sqs.purge_queue(QueueUrl=queue)
    world.becomes("letters", "OK")
    world.client("lambda").invoke(
        FunctionName=world.outputs["Function"], InvocationType="Event", Payload='{"group": "lost"}'
    )
    world.becomes("letters", "ALARM")
    (letter,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0)["Messages"]
    assert json.loads(letter["Body"]) == {"group": "lost"}
    sqs.purge_queue(QueueUrl=queue)
    world.becomes("letters", "OK")


def test_a_deployer_that_is_off(world: World) -> None:
    functions, name = world.client("lambda"), world.outputs["Function"]
    with world.schedule():
        world.becomes("stale", "OK")
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        world.becomes("stale", "ALARM")
        functions.delete_function_concurrency(FunctionName=name)
        world.becomes("stale", "OK")
