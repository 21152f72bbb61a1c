"""A stage with hosts to train on, deployed by the stock CDK CLI, and what happens on it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.connect import client_environment, connect
from modelyard_cli.demo import commands
from tests.local.loop.grants import Decision, read_audit
from tests.local.support import until

ENVIRONMENT, DATASET = "local-training", "digits"
STACK = f"modelyard-{ENVIRONMENT}-training"


class Stage:
    """The stage's stacks for data and for training; clients act as the administrator."""

    def __init__(self, state: Path, folder: Path) -> None:
        self.cloud, self._admin = connect(state)
        self.folder, self.assembly = folder, str(folder / "cdk.out")
        self.environment = client_environment(self.cloud, self._admin)

    def cdk(self, command: str, *arguments: str) -> None:
        """Run it on the assembly; `synth` makes that, without any cloud."""
        if command == "synth":
            arguments = ("--quiet", "-c", f"env={ENVIRONMENT}", "--output", self.assembly, *arguments)
        elif command != "bootstrap":
            arguments = ("--app", self.assembly, *arguments)
        commands.cdk(
            command,
            *arguments,
            environment={} if command == "synth" else self.environment,
            log=self.folder / f"{command}.log",
            cwd=self.folder if command == "bootstrap" else commands.ROOT,
        )

    def client(self, service: str) -> Any:
        return self.cloud.client(service, self._admin)

    @functools.cached_property
    def outputs(self) -> dict[str, str]:
        found = {}
        for stack in (STACK, f"modelyard-{ENVIRONMENT}-data"):
            (described,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
            found |= {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        return found

    @functools.cached_property
    def _resources(self) -> list[dict[str, Any]]:
        answer = self.client("cloudformation").describe_stack_resources(StackName=STACK)
        return list(answer["StackResources"])

    def resource(self, logical: str, kind: str) -> str:
        """Physical name of the stack's resource whose logical id begins so."""
        (found,) = (
            one["PhysicalResourceId"]
            for one in self._resources
            if one["ResourceType"] == kind and one["LogicalResourceId"].startswith(logical)
        )
        return str(found)

    def role(self, logical: str) -> str:
        return self.resource(logical, "AWS::IAM::Role")

    @property
    def bucket(self) -> str:
        return self.outputs["DataBucketName"]

    def keys(self, prefix: str) -> list[str]:
        """Of the data bucket's objects below a prefix."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def decisions(self, since: float) -> list[Decision]:
        return read_audit(self.cloud.folder.audit, self.client("iam"), since)

    def tasks(self, **which: str) -> list[dict[str, Any]]:
        """Those of the cluster, as `list_tasks` chooses them."""
        ecs, cluster = self.client("ecs"), self.outputs["ClusterName"]
        arns = ecs.list_tasks(cluster=cluster, **which)["taskArns"]
        return list(ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]) if arns else []

    def says(self, logical: str, words: str) -> None:
        """Wait until a log group has this; what a process wrote takes its way there."""
        until(lambda: words in self.logs(logical, 10_000), lambda: self.logs(logical))

    def logs(self, logical: str, most: int = 60) -> str:
        """The newest lines of a log group, for a test that fails."""
        group = self.resource(logical, "AWS::Logs::LogGroup")
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return "\n".join(event["message"] for event in events[-most:])

    def told(self, logical: str, task: str = "") -> list[dict[str, Any]]:
        """The lines of JSON in a log group, oldest first; those of one task, or of all."""
        group = self.resource(logical, "AWS::Logs::LogGroup")
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [
            event["message"]
            for page in pages
            for event in page["events"]
            if event["logStreamName"].endswith(task.rpartition("/")[2])
        ]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def job(self, name: str) -> dict[str, Any]:
        """The record of a training job."""
        answer = self.client("dynamodb").get_item(
            TableName=self.outputs["JobsTableName"], Key={"id": {"S": f"job/{name}"}}, ConsistentRead=True
        )
        return json.loads(answer["Item"]["record"]["S"]) if "Item" in answer else {"state": "missing"}

    def reached(self, name: str, *states: str, through: tuple[str, ...] = ()) -> Mapping[str, Any]:
        """The record of a job once it is in one of these states; it fails on the way only by `through`."""

        def look() -> Mapping[str, Any] | None:
            job = self.job(name)
            assert job["state"] in (*states, *through) or job["state"] not in ("backing-off", "failed"), (
                job,
                self.logs("ClusterTrainerLogs"),
            )
            return job if job["state"] in states else None

        found: Mapping[str, Any] = until(look, lambda: (self.job(name), self.logs("ClusterTrainerLogs")))
        return found
