"""Events of processing and transform jobs, from EventBridge's default bus to a queue."""

from __future__ import annotations

import json
import time
from typing import Any

from localcloud.context import Cloud, Credentials
from tests.local.pipeline_support import Bench
from tests.local.support import unique

PROCESSING, TRANSFORM = "SageMaker Processing Job State Change", "SageMaker Transform Job State Change"


def test_a_rule_gets_what_jobs_go_through(bench: Bench, cloud: Cloud, admin: Credentials) -> None:
    name = unique("job-events")
    sqs, events = cloud.client("sqs", admin), cloud.client("events", admin)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": [PROCESSING, TRANSFORM],
        "detail": {"$or": [{f"{kind}JobName": [name]} for kind in ("Processing", "Transform")]},
    }
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes["QueueArn"],
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
    got: list[dict[str, Any]] = []

    def last(status: str, *ends: str) -> str:
        """Receive until a job's last event, or for some minutes."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            asked = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in asked.get("Messages", []):
                got.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if ended := [event for event in got if event["detail"].get(status) in ends]:
                return str(ended[-1]["detail"][status])
        raise AssertionError(got)

    try:
        job = run_processing(bench, name)
        assert last("ProcessingJobStatus", "Completed", "Failed") == "Completed"
        transform = run_transform(bench, name)
        assert last("TransformJobStatus", "Completed", "Failed") == "Completed"
    finally:
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)

    for event in got:
        assert (event["source"], event["account"], event["region"]) == (
            "aws.sagemaker",
            cloud.account,
            cloud.region,
        )
    for kind, detail_type, arn in (("Processing", PROCESSING, job), ("Transform", TRANSFORM, transform)):
        own = [event for event in got if event["detail-type"] == detail_type]
        assert {event["detail"][f"{kind}JobStatus"] for event in own} == {"InProgress", "Completed"}
        assert {tuple(event["resources"]) for event in own} == {(arn,)}
        done = next(e["detail"] for e in own if e["detail"][f"{kind}JobStatus"] == "Completed")
        described = getattr(bench.client, f"describe_{kind.lower()}_job")(**{f"{kind}JobName": name})
        assert done[f"{kind}JobArn"] == arn
        assert done[f"{kind}EndTime"] == round(described[f"{kind}EndTime"].timestamp() * 1000)
        assert not [member for member in done if member.startswith("_")]


def run_processing(bench: Bench, name: str) -> str:
    arguments = bench.processing("Any", "sleep", "0")["Arguments"]
    arguments.pop("ProcessingOutputConfig")
    return str(bench.client.create_processing_job(ProcessingJobName=name, **arguments)["ProcessingJobArn"])


def run_transform(bench: Bench, name: str) -> str:
    bench.s3.put_object(Bucket=bench.bucket, Key="batch/rows.csv", Body=b"1,2\n")
    bench.client.create_model(
        ModelName=name, ExecutionRoleArn=bench.role_arn, PrimaryContainer={"Image": bench.image}
    )
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": bench.uri("batch", "rows.csv")}}
    answer = bench.client.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": bench.uri("scores", name)},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    return str(answer["TransformJobArn"])
