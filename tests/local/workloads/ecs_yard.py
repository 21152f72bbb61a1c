"""What the tests of ECS share: a cluster, an image that runs the request's code, roles, a log group."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.context import Cloud, Credentials
from tests.local.support import Role, allow, unique
from tests.local.workloads.conftest import PULL, docker

PATIENCE = 180.0
SUBNETS = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
WAIT = "import time; print('here', flush=True); time.sleep(600)"
DOCKERFILE = """
FROM public.ecr.aws/docker/library/python:3.11-slim
COPY run.py /opt/program/run.py
ENTRYPOINT ["python", "/opt/program/run.py"]
"""
_TASKS = "ecs-tasks.amazonaws.com"


def wait_for(reached: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := reached()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.05)
    return found


class Yard:
    """A cluster and all that its tasks need. `task_statements` are what the task role may do."""

    def __init__(
        self, cloud: Cloud, admin: Credentials, role: Role, folder: Path, *task_statements: dict[str, Any]
    ) -> None:
        self.cloud, self.admin = cloud, admin
        self.name = unique("yard")
        self.group = f"/ecs/{self.name}"
        self.ecs, self.logs = cloud.client("ecs", admin), cloud.client("logs", admin)
        self.logs.create_log_group(logGroupName=self.group)
        writing = ["logs:CreateLogStream", "logs:PutLogEvents"]
        self.execution_role = role(_TASKS, [allow(PULL), allow(writing, f"arn:aws:logs:*:*:*{self.group}:*")])
        self.task_role = role(_TASKS, list(task_statements))
        self.image = self._image(folder)
        self.ecs.create_cluster(clusterName=self.name, capacityProviders=["FARGATE", "FARGATE_SPOT"])

    def _image(self, folder: Path) -> str:
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "run.py").write_text("import os\nexec(os.environ['CODE'])\n")
        self.cloud.client("ecr", self.admin).create_repository(repositoryName=self.name)
        uri = f"{self.cloud.account}.dkr.ecr.{self.cloud.region}.amazonaws.com/{self.name}:1"
        for arguments in (["build", "--tag", uri, "."], ["push", uri]):
            result = docker(self.cloud, self.admin, *arguments, cwd=folder)
            assert result.returncode == 0, result.stderr
        return uri

    def container(self, code: str, name: str = "main", **changes: Any) -> dict[str, Any]:
        options = {
            "awslogs-group": self.group,
            "awslogs-region": self.cloud.region,
            "awslogs-stream-prefix": "run",
        }
        container: dict[str, Any] = {
            "name": name,
            "image": self.image,
            "environment": [{"name": "CODE", "value": code}],
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        }
        return container | changes

    def definition(self, *containers: dict[str, Any], **changes: Any) -> str:
        request = {
            "family": unique("family"),
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE", "EC2"],
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": self.task_role,
            "executionRoleArn": self.execution_role,
            "containerDefinitions": list(containers),
        }
        answer = self.ecs.register_task_definition(**{**request, **changes})
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    def run(self, definition: str, **changes: Any) -> list[str]:
        """Start tasks on Fargate; their ARNs."""
        answer = self.ask(definition, **changes)
        assert not answer["failures"], answer
        return [task["taskArn"] for task in answer["tasks"]]

    def ask(self, definition: str, **changes: Any) -> dict[str, Any]:
        request = {"cluster": self.name, "taskDefinition": definition, "networkConfiguration": SUBNETS}
        if "capacityProviderStrategy" not in changes:
            request["launchType"] = "FARGATE"
        answer: dict[str, Any] = self.ecs.run_task(**{**request, **changes})
        return answer

    def task(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_tasks(cluster=self.name, tasks=[arn])["tasks"][0]
        return found

    def reached(self, arn: str, status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            task = self.task(arn)
            assert status == "STOPPED" or task["lastStatus"] != "STOPPED", task
            return task if task["lastStatus"] == status else None

        found: dict[str, Any] = wait_for(look, f"{arn} {status}")
        return found

    def log(self, arn: str, container: str = "main") -> list[str]:
        stream = f"run/{container}/{arn.rpartition('/')[2]}"
        events = self.logs.get_log_events(logGroupName=self.group, logStreamName=stream, startFromHead=True)
        return [event["message"] for event in events["events"]]

    def said(self, arn: str, line: str) -> None:
        """Wait until a task has written a line."""
        wait_for(lambda: self.task(arn)["lastStatus"] == "RUNNING" and line in self.log(arn), line)

    def queue_of_events(self, pattern: dict[str, Any] | None = None) -> str:
        """A queue that gets every event of the cluster's tasks, or those of a pattern."""
        sqs, events = self.cloud.client("sqs", self.admin), self.cloud.client("events", self.admin)
        name = unique("events")
        arn = f"arn:aws:sqs:{self.cloud.region}:{self.cloud.account}:{name}"
        statement = {**allow("sqs:SendMessage", arn), "Principal": {"Service": "events.amazonaws.com"}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        url: str = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        cluster = f"arn:aws:ecs:{self.cloud.region}:{self.cloud.account}:cluster/{self.name}"
        pattern = pattern or {"source": ["aws.ecs"], "detail": {"clusterArn": [cluster]}}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        return url

    def events(self, url: str) -> list[dict[str, Any]]:
        """What is in the queue now."""
        sqs, found = self.cloud.client("sqs", self.admin), []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def close(self) -> None:
        """Take the cluster away with everything in it."""
        for arn in self.ecs.list_services(cluster=self.name)["serviceArns"]:
            self.ecs.delete_service(cluster=self.name, service=arn, force=True)
        for arn in self.ecs.list_tasks(cluster=self.name)["taskArns"]:
            self.ecs.stop_task(cluster=self.name, task=arn)
        wait_for(lambda: not self._used(), "the end of every task")
        self.ecs.delete_cluster(cluster=self.name)

    def _used(self) -> bool:
        found = self.ecs.describe_clusters(clusters=[self.name])["clusters"][0]
        stopping = self.ecs.list_tasks(cluster=self.name, desiredStatus="STOPPED")["taskArns"]
        tasks = self.ecs.describe_tasks(cluster=self.name, tasks=stopping[-100:])["tasks"] if stopping else []
        return bool(found["activeServicesCount"]) or any(task["lastStatus"] != "STOPPED" for task in tasks)
