"""What MiniStack alone would allow otherwise than AWS: who invokes a function, and where events end up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, Role, allow, archive, code_of, function, unique

Messages = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def queue(cloud: Cloud, admin: Credentials) -> tuple[str, str]:
    """URL and ARN."""
    client = cloud.client("sqs", admin)
    url = client.create_queue(QueueName=unique("events"))["QueueUrl"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


@pytest.fixture
def messages(cloud: Cloud, admin: Credentials) -> Messages:
    client = cloud.client("sqs", admin)

    def receive(url: str) -> list[dict[str, Any]]:
        answer = client.receive_message(QueueUrl=url, WaitTimeSeconds=2, MessageAttributeNames=["All"])
        return list(answer.get("Messages", []))

    return receive


def let_in(client: Any, queue: tuple[str, str], service: str, source: str) -> None:
    """Give a queue the policy that lets a service send for one source."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue[1],
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.set_queue_attributes(QueueUrl=queue[0], Attributes={"Policy": policy})


@pytest.fixture
def refusals(cloud: Cloud) -> Callable[[str, str], int]:
    """How often the cloud has refused to invoke a function for a bucket or topic; the caller is not told."""

    def count(function_arn: str, source: str) -> int:
        said = f"the policy of {function_arn} does not let {source} invoke it"
        return cloud.folder.server_log.read_text().count(said)

    return count


def wait_for(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def teller(cloud: Cloud, admin: Credentials, role: Role, queue: tuple[str, str]) -> str:
    """ARN of a function that puts each event that it gets into the queue."""
    code = (
        "import boto3, json, os\ndef handler(event, context):\n"
        "    boto3.client('sqs').send_message(QueueUrl=os.environ['QUEUE'], MessageBody=json.dumps(event))\n"
    )
    execution = role("lambda.amazonaws.com", [allow("sqs:SendMessage", queue[1])])
    spec = {
        **function(unique("teller"), execution),
        "Code": {"ZipFile": archive(code)},
        "Environment": {"Variables": {"QUEUE": queue[0]}},
    }
    arn: str = cloud.client("lambda", admin).create_function(**spec)["FunctionArn"]
    return arn


def test_a_grant_on_a_function_is_none_on_its_alias(
    cloud: Cloud, admin: Credentials, actor: Actor, role: Role
) -> None:
    lambdas, name = cloud.client("lambda", admin), unique("qualified")
    arn = lambdas.create_function(**function(name, role("lambda.amazonaws.com", [])))["FunctionArn"]
    lambdas.publish_version(FunctionName=name)
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    on_function, on_alias = (
        cloud.client("lambda", actor([allow("lambda:InvokeFunction", resource)]))
        for resource in (arn, f"{arn}:live")
    )
    for client, allowed, denied in (
        (on_function, [{"FunctionName": name}], [{"FunctionName": name, "Qualifier": "live"}]),
        (
            on_alias,
            [{"FunctionName": f"{arn}:live"}, {"FunctionName": name, "Qualifier": "live"}],
            [{"FunctionName": name}, {"FunctionName": name, "Qualifier": "1"}],
        ),
    ):
        for target in allowed:
            assert client.invoke(**target)["StatusCode"] == 200
        for target in denied:
            assert code_of(lambda client=client, target=target: client.invoke(**target))[0] == (
                "AccessDeniedException"
            )


@pytest.mark.parametrize("fault", ["no permission", "no function", "no policy of the queue"])
def test_undelivered_events_go_to_the_targets_dead_letter_queue(
    cloud: Cloud,
    admin: Credentials,
    role: Role,
    queue: tuple[str, str],
    messages: Messages,
    fault: str,
) -> None:
    lambdas, events = cloud.client("lambda", admin), cloud.client("events", admin)
    name = unique("undelivered")
    arn = lambdas.create_function(**function(name, role("lambda.amazonaws.com", [])))["FunctionArn"]
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    target = {"Id": "1", "Arn": arn, "Input": '"other"', "DeadLetterConfig": {"Arn": queue[1]}}
    events.put_targets(Rule=name, Targets=[target])
    if fault != "no policy of the queue":
        let_in(cloud.client("sqs", admin), queue, "events.amazonaws.com", rule)
    if fault == "no function":
        lambdas.delete_function(FunctionName=name)
    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": '{"a": 1}'}])
    if fault == "no policy of the queue":
        assert not messages(queue[0])
        return
    found = _until_one(messages, queue[0])
    attributes = {key: value["StringValue"] for key, value in found[0]["MessageAttributes"].items()}
    assert attributes["RULE_ARN"] == rule
    assert attributes["TARGET_ARN"] == arn
    assert attributes["ERROR_CODE"] == {"no function": "NO_RESOURCE"}.get(fault, "NO_PERMISSIONS")
    event = json.loads(found[0]["Body"])
    assert (event["source"], event["detail"]) == (name, {"a": 1})


def test_a_bucket_notifies_only_functions_that_let_it(
    cloud: Cloud,
    admin: Credentials,
    teller: str,
    queue: tuple[str, str],
    messages: Messages,
    refusals: Callable[[str, str], int],
) -> None:
    s3, lambdas, bucket = cloud.client("s3", admin), cloud.client("lambda", admin), unique("notifies")
    s3.create_bucket(Bucket=bucket)
    wanted = {
        "LambdaFunctionConfigurations": [{"LambdaFunctionArn": teller, "Events": ["s3:ObjectCreated:*"]}]
    }

    def configure() -> None:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)

    code, message = code_of(configure)
    assert (code, teller in message) == ("InvalidArgument", True)
    grant = {"FunctionName": teller, "StatementId": "bucket", "Action": "lambda:InvokeFunction"}
    lambdas.add_permission(**grant, Principal="s3.amazonaws.com", SourceArn=f"arn:aws:s3:::{bucket}")
    configure()
    lambdas.remove_permission(FunctionName=teller, StatementId="bucket")
    before = refusals(teller, f"arn:aws:s3:::{bucket}")
    s3.put_object(Bucket=bucket, Key="unheard", Body=b"")
    # Notifications go out in the background.
    wait_for(lambda: refusals(teller, f"arn:aws:s3:::{bucket}") > before)
    lambdas.add_permission(**grant, Principal="s3.amazonaws.com", SourceArn=f"arn:aws:s3:::{bucket}")
    s3.put_object(Bucket=bucket, Key="heard", Body=b"")
    told = [json.loads(message["Body"]) for message in _until_one(messages, queue[0])]
    assert [event["Records"][0]["s3"]["object"]["key"] for event in told] == ["heard"]


def test_a_topic_reaches_only_functions_that_let_it(
    cloud: Cloud,
    admin: Credentials,
    teller: str,
    queue: tuple[str, str],
    messages: Messages,
    refusals: Callable[[str, str], int],
) -> None:
    sns = cloud.client("sns", admin)
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=teller)
    sns.publish(TopicArn=topic, Message="unheard")
    # Deliveries go out in the background.
    wait_for(lambda: refusals(teller, topic))
    cloud.client("lambda", admin).add_permission(
        FunctionName=teller,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.publish(TopicArn=topic, Message="heard")
    told = [json.loads(message["Body"]) for message in _until_one(messages, queue[0])]
    assert [event["Records"][0]["Sns"]["Message"] for event in told] == ["heard"]


def _until_one(messages: Messages, url: str) -> list[dict[str, Any]]:
    deadline, found = time.monotonic() + 180, messages(url)
    while not found and time.monotonic() < deadline:
        found = messages(url)
    return found


def test_targets_of_failed_events_must_be_open_to_the_role(
    cloud: Cloud, admin: Credentials, role: Role, queue: tuple[str, str]
) -> None:
    lambdas, name = cloud.client("lambda", admin), unique("powerless")
    spec, letters = function(name, role("lambda.amazonaws.com", [])), {"TargetArn": queue[1]}
    refusals = [lambda: lambdas.create_function(**spec, DeadLetterConfig=letters)]
    assert "permissions to call SendMessage on SQS" in code_of(refusals[0])[1]
    lambdas.create_function(**spec)
    for refused in (
        lambda: lambdas.update_function_configuration(FunctionName=name, DeadLetterConfig=letters),
        lambda: lambdas.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnFailure": {"Destination": queue[1]}}
        ),
    ):
        code, message = code_of(refused)
        assert code == "InvalidParameterValueException"
        assert "permissions to call SendMessage on" in message


def test_messages_stay_hidden_while_a_function_works_on_them(
    cloud: Cloud, admin: Credentials, role: Role, queue: tuple[str, str]
) -> None:
    lambdas, name = cloud.client("lambda", admin), unique("slow")
    lambdas.create_function(
        **{**function(name, role("lambda.amazonaws.com", [allow("sqs:*")])), "Timeout": 31}
    )

    def create() -> object:
        return lambdas.create_event_source_mapping(FunctionName=name, EventSourceArn=queue[1])

    text = "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"
    assert code_of(create) == ("InvalidParameterValueException", text)
    cloud.client("sqs", admin).set_queue_attributes(QueueUrl=queue[0], Attributes={"VisibilityTimeout": "31"})
    create()


class TestConcurrency:
    @pytest.fixture
    def name(self, cloud: Cloud, admin: Credentials, role: Role) -> str:
        lambdas, name = cloud.client("lambda", admin), unique("concurrent")
        lambdas.create_function(**function(name, role("lambda.amazonaws.com", [])))
        lambdas.publish_version(FunctionName=name)
        lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        return name

    def test_a_hundred_of_the_account_stay_unreserved(
        self, cloud: Cloud, admin: Credentials, name: str
    ) -> None:
        lambdas = cloud.client("lambda", admin)
        code, message = code_of(
            lambda: lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=901)
        )
        assert code == "InvalidParameterValueException"
        assert "UnreservedConcurrentExecution below its minimum value of [100]" in message
        lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)

    def test_a_templates_reservation(self, deploy: Any, role: Role) -> None:
        properties = {
            "Role": role("lambda.amazonaws.com", []),
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": "def handler(event, context): pass\n"},
            "ReservedConcurrentExecutions": 901,
        }
        with pytest.raises(WaiterError):
            deploy(
                unique("greedy"), {"Function": {"Type": "AWS::Lambda::Function", "Properties": properties}}
            )

    def test_provisioned_within_the_reserved(self, cloud: Cloud, admin: Credentials, name: str) -> None:
        lambdas = cloud.client("lambda", admin)
        lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)

        def provision(qualifier: str, number: int) -> object:
            return lambdas.put_provisioned_concurrency_config(
                FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
            )

        assert "unpublished function versions" in code_of(lambda: provision("$LATEST", 1))[1]
        assert "greater than the reservedConcurrentExecution" in code_of(lambda: provision("live", 3))[1]
        provision("live", 2)
        provision("live", 1)

    def test_a_reservation_is_also_its_versions_and_aliases(
        self, cloud: Cloud, admin: Credentials, name: str
    ) -> None:
        lambdas = cloud.client("lambda", admin)
        lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        for qualifier in ("$LATEST", "1", "live"):
            code, _ = code_of(lambda: lambdas.invoke(FunctionName=name, Qualifier=qualifier))  # noqa: B023
            assert code == "TooManyRequestsException"
        lambdas.delete_function_concurrency(FunctionName=name)
        assert "FunctionError" not in lambdas.invoke(FunctionName=name, Qualifier="live")
