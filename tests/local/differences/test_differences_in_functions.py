"""What MiniStack alone would allow or say otherwise than AWS: functions and the events they get."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import CODE, Actor, Role, allow, archive, code_of, function


def test_event_rule_needs_the_functions_permission(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, events, s3 = (cloud.client(name, admin) for name in ("lambda", "events", "s3"))
    s3.create_bucket(Bucket="event-proof")
    execution = role("lambda.amazonaws.com", [allow("s3:PutObject", "arn:aws:s3:::event-proof/*")])
    code = (
        "import boto3\ndef handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket='event-proof', Key=event['detail']['key'], Body=b'')\n"
    )
    spec = {**function("event-proof", execution), "Code": {"ZipFile": archive(code)}}
    function_arn = lambdas.create_function(**spec)["FunctionArn"]
    rule = events.put_rule(Name="event-proof", EventPattern='{"source": ["test.proof"]}')["RuleArn"]
    events.put_targets(Rule="event-proof", Targets=[{"Id": "1", "Arn": function_arn}])

    def send(key: str) -> None:
        entry = {"Source": "test.proof", "DetailType": "t", "Detail": json.dumps({"key": key})}
        events.put_events(Entries=[entry])

    def keys() -> list[str]:
        found = s3.list_objects_v2(Bucket="event-proof").get("Contents", [])
        return [item["Key"] for item in found]

    send("before")
    lambdas.add_permission(
        FunctionName="event-proof",
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    send("after")
    deadline = time.monotonic() + 180
    while "after" not in keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert keys() == ["after"]


def test_a_failed_event_is_tried_again(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, events, s3 = (cloud.client(name, admin) for name in ("lambda", "events", "s3"))
    s3.create_bucket(Bucket="event-retries")
    execution = role("lambda.amazonaws.com", [allow("s3:PutObject", "arn:aws:s3:::event-retries/*")])
    code = (
        "import boto3, uuid\ndef handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket='event-retries', Key=uuid.uuid4().hex, Body=b'')\n"
        "    raise ValueError('no')\n"
    )
    spec = {**function("event-retries", execution), "Code": {"ZipFile": archive(code)}}
    function_arn = lambdas.create_function(**spec)["FunctionArn"]
    lambdas.add_permission(
        FunctionName="event-retries",
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
    )
    events.put_rule(Name="event-retries", EventPattern='{"source": ["test.retries"]}')
    events.put_targets(Rule="event-retries", Targets=[{"Id": "1", "Arn": function_arn}])
    events.put_events(Entries=[{"Source": "test.retries", "DetailType": "t", "Detail": "{}"}])
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and s3.list_objects_v2(Bucket="event-retries")["KeyCount"] < 3:
        time.sleep(0.2)
    assert s3.list_objects_v2(Bucket="event-retries")["KeyCount"] == 3


def test_logs_need_the_roles_permission(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, logs = cloud.client("lambda", admin), cloud.client("logs", admin)
    write = allow(
        ["logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:*:*:log-group:/aws/lambda/t*:*"
    )
    create = allow("logs:CreateLogGroup")
    lambdas.create_function(**function("mute", role("lambda.amazonaws.com", [])))
    lambdas.create_function(**function("talks", role("lambda.amazonaws.com", [write, create])))
    lambdas.create_function(**function("tells", role("lambda.amazonaws.com", [write])))
    logs.create_log_group(logGroupName="/aws/lambda/tells")
    for name in ("mute", "talks", "tells"):
        lambdas.invoke(FunctionName=name)
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    names = {group["logGroupName"] for group in groups}
    assert "/aws/lambda/talks" in names
    assert "/aws/lambda/mute" not in names
    assert logs.describe_log_streams(logGroupName="/aws/lambda/tells")["logStreams"]


def test_an_execution_environment_has_one_log_stream(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, logs = cloud.client("lambda", admin), cloud.client("logs", admin)
    code = (
        "def handler(event, context):\n"
        "    print('called with', event)\n"
        "    if event == 2:\n        raise ValueError('no')\n"
        "    return context.log_stream_name\n"
    )
    writes = role("lambda.amazonaws.com", [allow("logs:*")])
    lambdas.create_function(**{**function("one-stream", writes), "Code": {"ZipFile": archive(code)}})
    told = [
        json.loads(lambdas.invoke(FunctionName="one-stream", Payload=str(number))["Payload"].read())
        for number in range(4)
    ]
    (stream,) = logs.describe_log_streams(logGroupName="/aws/lambda/one-stream")["logStreams"]
    assert {told[0], told[1], told[3]} == {stream["logStreamName"]}
    events = logs.filter_log_events(logGroupName="/aws/lambda/one-stream", filterPattern='"called with"')[
        "events"
    ]
    assert [event["message"] for event in events] == [f"called with {number}" for number in range(4)]
    assert len({event["eventId"] for event in events}) == 4


def test_log_lines_in_the_embedded_format_are_metrics(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, cloudwatch = cloud.client("lambda", admin), cloud.client("cloudwatch", admin)
    directive = {
        "Namespace": "Tests/Embedded",
        "Dimensions": [["Model", "Version"], ["Model"]],
        "Metrics": [{"Name": "Invocations", "Unit": "Count"}, {"Name": "Latency", "Unit": "Milliseconds"}],
    }
    line = {"Model": "loans", "Version": "3", "Invocations": 1, "Latency": [10, 20.5, 30]}
    code = (
        "import json, time\ndef handler(event, context):\n"
        f"    line = {line!r}\n"
        f"    about = {{'Timestamp': int(time.time() * 1000), 'CloudWatchMetrics': [{directive!r}]}}\n"
        "    print(json.dumps({**line, '_aws': about}))\n"
        "    print(json.dumps({**line, 'Version': 3, '_aws': about}))\n"
    )
    # The log is all that it may write.
    writes = role("lambda.amazonaws.com", [allow("logs:*")])
    lambdas.create_function(**{**function("embeds", writes), "Code": {"ZipFile": archive(code)}})
    for _ in range(2):
        assert "FunctionError" not in lambdas.invoke(FunctionName="embeds")
    now = datetime.now(UTC)
    span: dict[str, Any] = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5)}
    dimensions = [{"Name": "Model", "Value": "loans"}, {"Name": "Version", "Value": "3"}]

    def asked(name: str) -> dict[str, Any]:
        return {"Namespace": "Tests/Embedded", "MetricName": name, "Dimensions": dimensions}

    statistics = cloudwatch.get_metric_statistics(
        **asked("Latency"), **span, Period=3600, Statistics=["SampleCount", "Sum", "Maximum"]
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in statistics) == 6
    assert sum(point["Sum"] for point in statistics) == 121.0
    assert {point["Unit"] for point in statistics} == {"Milliseconds"}
    query = {"Metric": asked("Invocations"), "Period": 3600, "Stat": "Sum"}
    data = cloudwatch.get_metric_data(MetricDataQueries=[{"Id": "sum", "MetricStat": query}], **span)
    assert sum(data["MetricDataResults"][0]["Values"]) == 2.0
    listed = cloudwatch.list_metrics(Namespace="Tests/Embedded")["Metrics"]
    assert sorted((metric["MetricName"], len(metric["Dimensions"])) for metric in listed) == [
        ("Invocations", 1),
        ("Invocations", 2),
        ("Latency", 1),
        ("Latency", 2),
    ]


def test_event_source_needs_the_roles_permission(
    cloud: Cloud, admin: Credentials, role: Role, deploy: Any
) -> None:
    lambdas, sqs = cloud.client("lambda", admin), cloud.client("sqs", admin)
    url = sqs.create_queue(QueueName="source")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    lambdas.create_function(**function("blind", role("lambda.amazonaws.com", [])))
    code, message = code_of(
        lambda: lambdas.create_event_source_mapping(FunctionName="blind", EventSourceArn=queue)
    )
    assert code == "InvalidParameterValueException"
    assert "ReceiveMessage" in message
    reads = allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], queue)
    lambdas.create_function(**function("reads", role("lambda.amazonaws.com", [reads])))
    lambdas.create_event_source_mapping(FunctionName="reads", EventSourceArn=queue)
    mapping = {"Type": "AWS::Lambda::EventSourceMapping"}
    good = {"Mapping": {**mapping, "Properties": {"FunctionName": "reads", "EventSourceArn": queue}}}
    deploy("mapping-of-a-reader", good)
    bad = {"Mapping": {**mapping, "Properties": {"FunctionName": "blind", "EventSourceArn": queue}}}
    with pytest.raises(WaiterError):
        deploy("mapping-of-a-blind-one", bad)


@pytest.mark.parametrize("kind", ["dead-letters", "destination"])
def test_where_failed_events_go(cloud: Cloud, admin: Credentials, role: Role, kind: str) -> None:
    lambdas, sqs = cloud.client("lambda", admin), cloud.client("sqs", admin)
    name = f"fails-{kind}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    code = "def handler(event, context):\n    raise ValueError('no such thing')\n"
    spec = function(name, role("lambda.amazonaws.com", [allow("sqs:SendMessage", queue)]))
    spec["Code"] = {"ZipFile": archive(code)}
    options: dict[str, Any] = {"FunctionName": name, "MaximumRetryAttempts": 0}
    if kind == "dead-letters":
        spec["DeadLetterConfig"] = {"TargetArn": queue}
    else:
        options["DestinationConfig"] = {"OnFailure": {"Destination": queue}}
    lambdas.create_function(**spec)
    lambdas.put_function_event_invoke_config(**options)
    lambdas.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
    deadline = time.monotonic() + 180
    messages: list[dict[str, Any]] = []
    while not messages and time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"])
        messages = answer.get("Messages", [])
    body = json.loads(messages[0]["Body"])
    if kind == "dead-letters":
        assert body == {"a": 1}
        assert messages[0]["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no such thing"
    else:
        assert body["requestPayload"] == {"a": 1}
        assert body["requestContext"]["condition"] == "RetriesExhausted"


def test_dead_letter_queue_of_a_template(cloud: Cloud, admin: Credentials, role: Role, deploy: Any) -> None:
    def resources(execution: str) -> dict[str, Any]:
        properties = {
            "Role": execution,
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
            "DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}},
        }
        return {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": properties},
        }

    sends = role("lambda.amazonaws.com", [allow("sqs:SendMessage")])
    name = deploy("dead-letters", resources(sends), {"Name": {"Ref": "Function"}})["Name"]
    config = cloud.client("lambda", admin).get_function_configuration(FunctionName=name)
    assert config["DeadLetterConfig"]["TargetArn"].startswith("arn:aws:sqs:")
    with pytest.raises(WaiterError):
        deploy("no-dead-letters", resources(role("lambda.amazonaws.com", [])))


def test_function_of_a_template(cloud: Cloud, admin: Credentials, role: Role, deploy: Any) -> None:
    def resources(reserved: int | None) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "FunctionName": "of-a-template",
            "Role": execution,
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
        }
        if reserved is not None:
            properties["ReservedConcurrentExecutions"] = reserved
        return {"Function": {"Type": "AWS::Lambda::Function", "Properties": properties}}

    execution = role("lambda.amazonaws.com", [])
    client = cloud.client("lambda", admin)
    for reserved in (5, 7, None):
        deploy("function-of-a-template", resources(reserved))
        answer = client.get_function_concurrency(FunctionName="of-a-template")
        assert answer.get("ReservedConcurrentExecutions") == reserved


def test_function_url_leads_here(cloud: Cloud, admin: Credentials, actor: Actor, role: Role) -> None:
    client = cloud.client("lambda", admin)
    function_arn = client.create_function(**function("has-url", role("lambda.amazonaws.com", [])))[
        "FunctionArn"
    ]
    url = client.create_function_url_config(FunctionName="has-url", AuthType="AWS_IAM")["FunctionUrl"]
    assert url.startswith(f"{cloud.endpoint_url}/_aws/lambda-url/")
    grant = {
        **allow("lambda:InvokeFunctionUrl", function_arn),
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
    }
    via = {**allow("lambda:InvokeFunction", function_arn)}
    via["Condition"] = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    both = [grant, via]
    assert call_url(cloud, url, actor([grant]))[0] == 403
    assert call_url(cloud, url, actor(both)) == (200, '{"ok": true}')
    for service in ("sts", "execute-api", "s3"):
        status, body = call_url(cloud, url, actor(both), service)
        assert status == 403
        assert "scoped to correct service: 'lambda'" in body
    assert call_url(cloud, url, actor([]))[0] == 403
    assert call_url(cloud, url, None)[0] == 403


def call_url(
    cloud: Cloud, url: str, credentials: Credentials | None, service: str = "lambda"
) -> tuple[int, str]:
    import ssl
    import urllib.error
    import urllib.request

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Signing

    request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=b"{}")
    if credentials is not None:
        signing = Signing(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        SigV4Auth(signing, service, cloud.region).add_auth(request)
    sent = urllib.request.Request(url, data=b"{}", headers=dict(request.headers), method="POST")
    context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    try:
        with urllib.request.urlopen(sent, context=context, timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_function_credentials_cannot_be_computed(cloud: Cloud, admin: Credentials, role: Role) -> None:
    execution = role("lambda.amazonaws.com", [allow("s3:ListAllMyBuckets")])
    arn = cloud.client("lambda", admin).create_function(**function("secretive", execution))["FunctionArn"]
    cloud.client("lambda", admin).invoke(FunctionName="secretive")
    # MiniStack's own derivation.
    digest = hashlib.sha256(f"{arn}:{execution}".encode()).hexdigest()
    guessed = Credentials(
        access_key_id=f"ASIA{digest[:16].upper()}",
        secret_access_key=hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        session_token=hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    )
    assert code_of(cloud.client("s3", guessed).list_buckets)[0] == "InvalidAccessKeyId"
