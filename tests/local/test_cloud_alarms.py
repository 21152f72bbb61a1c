"""CloudWatch alarms on the local cloud: AWS's rules, and what a change of state sets off."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Cloud, Credentials

CODE = (
    "import json, os, boto3\n"
    "def handler(event, context):\n"
    "    boto3.client('sqs').send_message(QueueUrl=os.environ['QUEUE'], MessageBody=json.dumps(event))\n"
)


def until(found: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("index.py", CODE)
    return buffer.getvalue()


class Bench:
    """An alarm of ten-second periods on a metric of the test's own."""

    def __init__(self, cloud: Cloud, admin: Credentials) -> None:
        self.cloud, self.admin = cloud, admin
        self.name = f"alarm-{uuid.uuid4().hex[:8]}"
        self.cloudwatch = cloud.client("cloudwatch", admin)
        self.arn = f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{self.name}"

    def put(self, **members: Any) -> None:
        request = {
            "AlarmName": self.name,
            "Namespace": "shop",
            "MetricName": "Latency",
            "Dimensions": [{"Name": "Shop", "Value": self.name}],
            "ExtendedStatistic": "p90",
            "Period": 10,
            "EvaluationPeriods": 1,
            "Threshold": 100.0,
            "ComparisonOperator": "GreaterThanThreshold",
            **members,
        }
        self.cloudwatch.put_metric_alarm(**request)

    def measure(self, *values: float, shop: str | None = None) -> None:
        self.cloudwatch.put_metric_data(
            Namespace="shop",
            MetricData=[
                {
                    "MetricName": "Latency",
                    "Dimensions": [{"Name": "Shop", "Value": shop or self.name}],
                    "Values": list(values),
                }
            ],
        )

    @property
    def state(self) -> str:
        found = self.cloudwatch.describe_alarms(AlarmNames=[self.name])
        return str((found["MetricAlarms"] + found["CompositeAlarms"])[0]["StateValue"])

    def becomes(self, state: str, seconds: float = 180) -> dict[str, Any]:
        """The alarm once it is in the state: soon it may be in another one."""

        def look() -> dict[str, Any] | None:
            found = self.cloudwatch.describe_alarms(AlarmNames=[self.name])
            alarm: dict[str, Any] = (found["MetricAlarms"] + found["CompositeAlarms"])[0]
            return alarm if alarm["StateValue"] == state else None

        found: dict[str, Any] = until(look, seconds)
        return found


@pytest.fixture
def bench(cloud: Cloud, admin: Credentials) -> Iterator[Bench]:
    made = Bench(cloud, admin)
    yield made
    made.cloudwatch.delete_alarms(AlarmNames=[made.name])


def test_a_percentile_of_its_own_dimensions_decides_when_the_period_has_ended(bench: Bench) -> None:
    bench.put(TreatMissingData="notBreaching")
    bench.becomes("OK")  # of no data at all
    bench.measure(500.0, shop="another")
    measured = time.time()
    bench.measure(*([10.0] * 5), *([200.0] * 5))
    found = bench.becomes("ALARM")
    assert found["StateUpdatedTimestamp"].timestamp() >= (measured // 10 + 1) * 10
    assert "[200.0 (" in found["StateReason"]
    assert json.loads(found["StateReasonData"])["recentDatapoints"] == [200.0]
    # Nothing came after it; what is known counts for two more periods.
    bench.becomes("OK")
    summaries = [
        item["HistorySummary"]
        for item in bench.cloudwatch.describe_alarm_history(
            AlarmName=bench.name, HistoryItemType="StateUpdate"
        )["AlarmHistoryItems"]
    ]
    assert "Alarm updated from OK to ALARM" in summaries
    assert "Alarm updated from ALARM to OK" in summaries


def test_the_average_over_two_periods_is_not_one_datapoint(bench: Bench) -> None:
    bench.put(EvaluationPeriods=3, DatapointsToAlarm=3, TreatMissingData="notBreaching")
    bench.becomes("OK")
    bench.measure(900.0)
    time.sleep(14)
    assert bench.state == "OK"


def rate(bench: Bench) -> list[dict[str, Any]]:
    def stat(name: str, statistic: str) -> dict[str, Any]:
        dimensions = [{"Name": "Shop", "Value": bench.name}]
        metric = {"Namespace": "shop", "MetricName": "Latency", "Dimensions": dimensions}
        return {
            "Id": name,
            "MetricStat": {"Metric": metric, "Period": 10, "Stat": statistic},
            "ReturnData": False,
        }

    share = {"Id": "share", "Expression": "100 * FILL(slow, 0) / all", "ReturnData": True}
    return [stat("slow", "Sum"), stat("all", "SampleCount"), share]


def test_an_expression_decides_and_bad_ones_are_refused(bench: Bench, admin: Credentials) -> None:
    client = bench.cloud.client("cloudformation", admin)
    properties = {
        "AlarmName": bench.name,
        "Metrics": rate(bench),
        "EvaluationPeriods": "1",
        "Threshold": "500",
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    template = {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}}}
    client.create_stack(StackName=bench.name, TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName=bench.name, WaiterConfig={"Delay": 1})
    bench.measure(1.0, 9.0, 9.0)  # 100 * 19 / 3
    found = bench.becomes("ALARM")
    assert [query["Id"] for query in found["Metrics"]] == ["slow", "all", "share"]
    assert "MetricName" not in found
    assert "[633.3" in found["StateReason"]
    bench.cloudwatch.describe_alarms_for_metric(Namespace="shop", MetricName="Latency")
    request = {
        "AlarmName": bench.name,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    broken = [{"Id": "x", "Expression": "ANOMALY_DETECTION_BAND(all)"}, *rate(bench)[:2]]
    with pytest.raises(ClientError, match="does not know ANOMALY_DETECTION_BAND"):
        bench.cloudwatch.put_metric_alarm(Metrics=broken, **request)
    bench.cloudwatch.put_metric_alarm(Metrics=rate(bench), **request)
    assert bench.cloudwatch.describe_alarms(AlarmNames=[bench.name])["MetricAlarms"][0]["Threshold"] == 1.0


def test_a_change_of_state_reaches_queue_function_and_composite(
    bench: Bench, cloud: Cloud, admin: Credentials, role: Callable[..., str]
) -> None:
    sqs, sns = cloud.client("sqs", admin), cloud.client("sns", admin)
    events, functions = cloud.client("events", admin), cloud.client("lambda", admin)
    queue = sqs.create_queue(QueueName=bench.name)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    rule = events.put_rule(
        Name=bench.name,
        EventPattern=json.dumps(
            {"source": ["aws.cloudwatch"], "detail": {"alarmName": [{"prefix": bench.name}]}}
        ),
    )["RuleArn"]
    topic = sns.create_topic(Name=bench.name)["TopicArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": source}},
            }
            for service, source in (("events.amazonaws.com", rule), ("sns.amazonaws.com", topic))
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    events.put_targets(Rule=bench.name, Targets=[{"Id": "queue", "Arn": queue_arn}])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue_arn}
    function = functions.create_function(
        FunctionName=bench.name,
        Role=role("lambda.amazonaws.com", [send]),
        Runtime="python3.11",
        Handler="index.handler",
        Code={"ZipFile": archive()},
        Timeout=60,
        Environment={"Variables": {"QUEUE": queue}},
    )["FunctionArn"]
    got: list[dict[str, Any]] = []

    def receive() -> list[dict[str, Any]]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            got.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return got

    # Without data its state is as set by hand; an evaluation between two changes would make it another.
    bench.put(
        AlarmActions=[topic, function], Period=60, AlarmDescription="too slow", TreatMissingData="ignore"
    )
    composite = f"{bench.name}-any"
    bench.cloudwatch.put_composite_alarm(AlarmName=composite, AlarmRule=f'ALARM("{bench.name}")')
    # Nobody lets CloudWatch invoke the function yet.
    bench.cloudwatch.set_alarm_state(AlarmName=bench.name, StateValue="ALARM", StateReason="by hand")
    try:
        until(lambda: [body for body in receive() if body.get("Type") == "Notification"], 180)
        assert not [body for body in got if "alarmData" in body]
        functions.add_permission(
            FunctionName=bench.name,
            StatementId="alarms",
            Action="lambda:InvokeFunction",
            Principal="lambda.alarms.cloudwatch.amazonaws.com",
            SourceArn=bench.arn,
        )
        for state in ("OK", "ALARM"):
            bench.cloudwatch.set_alarm_state(AlarmName=bench.name, StateValue=state, StateReason="by hand")
        called = until(lambda: [body for body in receive() if "alarmData" in body], 180)[0]
    finally:
        bench.cloudwatch.delete_alarms(AlarmNames=[composite])
        events.remove_targets(Rule=bench.name, Ids=["queue"])
        events.delete_rule(Name=bench.name)
    assert called["alarmArn"] == bench.arn
    assert called["alarmData"]["state"]["value"] == "ALARM"
    assert called["alarmData"]["previousState"]["value"] == "OK"
    changes = [body["detail"] for body in got if body.get("detail-type") == "CloudWatch Alarm State Change"]
    mine = [detail for detail in changes if detail["alarmName"] == bench.name]
    assert mine[0]["state"]["value"] == "ALARM"
    assert mine[0]["state"]["reason"] == "by hand"
    assert mine[0]["configuration"]["description"] == "too slow"
    assert mine[0]["configuration"]["metrics"][0]["metricStat"]["stat"] == "p90"
    above = [detail["state"]["value"] for detail in changes if detail["alarmName"] == composite]
    assert "ALARM" in above
