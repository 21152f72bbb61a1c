"""Tasks of gangs on an ECS cluster, through the `ecs` client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from .attempts import Cause
from .aws_ec2 import Fate, terminate
from .aws_errors import code, reason
from .errors import RefusedError
from .ports import Phase, Started, Task
from .settings import Settings

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
_A_CALL = 10
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
_DESCRIBED = 100
# The same tomorrow as today; what else may go wrong is tried again.
_REFUSALS = frozenset(
    {
        "AccessDeniedException", "ClientException", "ClusterNotFoundException", "InvalidParameterException",
        "PlatformTaskDefinitionIncompatibilityException", "PlatformUnknownException",
        "UnsupportedFeatureException",
    }
)  # fmt: skip
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
_BY_ITSELF = frozenset({"EssentialContainerExited", "TaskFailedToStart"})
# EX_TEMPFAIL of sysexits.h: by which the trainer says that the rendezvous is gone. That is no fault of the
# program, which would fare no better the next time: such attempts do not count towards the poison limit.
NO_RENDEZVOUS = 75


class EcsHosts:
    """Each host is a task, started by the attempt's name; `ports.Hosts`.

    Args:
        client: An `ecs` client.
        settings: Of the cluster.
        ec2: Makes an `ec2` client; it takes long, and hosts are seldom taken away.
    """

    def __init__(self, client: Any, settings: Settings, ec2: Callable[[], Any]) -> None:
        self._client, self._settings, self._ec2 = client, settings, ec2
        self._family = settings.task_definition.rpartition("/")[2].partition(":")[0]

    def run(
        self,
        attempt: str,
        count: int,
        environment: Mapping[str, str],
        *,
        provider: int,
        token: str,
        alone: bool = False,
    ) -> Started:
        del alone
        tasks: list[str] = []
        for start in range(0, count, _A_CALL):
            asked = min(_A_CALL, count - start)
            identity = hashlib.sha256(f"{attempt}/{token}/{start}".encode()).hexdigest()[:32]
            answer = self._run_once(attempt, asked, environment, provider, identity)
            tasks += [task["taskArn"] for task in answer["tasks"]]
            if answer["failures"]:
                failures = tuple(_said(failure) for failure in answer["failures"])
                return Started(tasks=tuple(tasks), failures=failures)
        return Started(tasks=tuple(tasks))

    def look(self, tasks: Iterable[str]) -> tuple[Task, ...]:
        wanted = list(tasks)
        found = {task["taskArn"]: _task(task) for task in self._described(wanted)}
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html: for an hour.
        unknown = "ECS no longer knows the task"
        return tuple(found.get(arn) or Task(arn=arn, phase=Phase.ENDED, reason=unknown) for arn in wanted)

    def stop(self, attempt: str, tasks: Iterable[str], reason: str) -> tuple[str, ...]:
        # `startedBy` goes with no other filter, and leaves out those that are to end and still save.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
        listed = {*self._listed(startedBy=attempt), *tasks}
        ending = set(self._listed(family=self._family, desiredStatus="STOPPED"))
        left = []
        for task in self._described(sorted(listed | ending)):
            if task["taskArn"] not in listed and task.get("startedBy") != attempt:
                continue
            if task["lastStatus"] == "STOPPED":
                continue
            left.append(task["taskArn"])
            if task["desiredStatus"] != "STOPPED":
                self._stop(task["taskArn"], reason)
        return tuple(left)

    def evict(self, tasks: Iterable[str]) -> tuple[str, ...]:
        # The instance first: what is deregistered can no longer be traced to it when this is repeated, and
        # its containers would go on. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html
        on: dict[str, list[str]] = {}
        for task in self._described(list(tasks)):
            if place := task.get("containerInstanceArn"):
                on.setdefault(place, []).append(task["taskArn"])
        cluster, places = self._settings.cluster, list(on)
        for start in range(0, len(places), _DESCRIBED):
            some = places[start : start + _DESCRIBED]
            found = self._client.describe_container_instances(cluster=cluster, containerInstances=some)
            for one in found["containerInstances"]:
                # One that lives trains on: deregistered, nobody would find it.
                if terminate(self._ec2(), one["ec2InstanceId"]) is Fate.LIVES:
                    del on[one["containerInstanceArn"]]
                else:
                    self._deregister(one["containerInstanceArn"])
        return tuple(arn for arns in on.values() for arn in arns)

    def _deregister(self, place: str) -> None:
        try:
            self._client.deregister_container_instance(
                cluster=self._settings.cluster, containerInstance=place, force=True
            )
        except ClientError as error:
            # ECS has done so itself, where it hears the agent after all.
            if code(error) != "InvalidParameterException":
                raise

    def let_go(self, tasks: Iterable[str], reason: str) -> None:
        for arn in tasks:
            self._stop(arn, reason)

    def attempts(self) -> frozenset[str]:
        tasks = self._described(list(self._listed(family=self._family)))
        return frozenset(task.get("startedBy", "") for task in tasks) - {""}

    def drain(self, instance: str, reason: str) -> int:
        pages = self._client.get_paginator("list_container_instances").paginate(
            cluster=self._settings.cluster, filter=f"ec2InstanceId == '{instance}'"
        )
        places = [arn for page in pages for arn in page["containerInstanceArns"]]
        tasks = [
            arn for place in places for arn in self._listed(containerInstance=place, family=self._family)
        ]
        for arn in tasks:
            self._stop(arn, reason)
        return len(tasks)

    def _run_once(
        self, attempt: str, count: int, environment: Mapping[str, str], provider: int, token: str
    ) -> dict[str, Any]:
        settings = self._settings
        variables = [{"name": name, "value": value} for name, value in environment.items()]
        constraints = [{"type": "distinctInstance"}] if settings.distinct_instances else []
        providers = settings.capacity_providers
        try:
            answer: dict[str, Any] = self._client.run_task(
                cluster=settings.cluster,
                taskDefinition=settings.task_definition,
                count=count,
                startedBy=attempt,
                clientToken=token,
                capacityProviderStrategy=[
                    {"capacityProvider": providers[provider % len(providers)], "weight": 1}
                ],
                placementConstraints=constraints,
                networkConfiguration={
                    "awsvpcConfiguration": {
                        "subnets": list(settings.subnets),
                        "securityGroups": list(settings.security_groups),
                        "assignPublicIp": "DISABLED",
                    }
                },
                overrides={"containerOverrides": [{"name": settings.container, "environment": variables}]},
            )
        except ClientError as error:
            if code(error) in _REFUSALS:
                raise RefusedError(f"ECS refuses to start the hosts: {reason(error)}") from error
            raise
        return answer

    def _listed(self, **which: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_tasks").paginate(cluster=self._settings.cluster, **which)
        for page in pages:
            yield from page["taskArns"]

    def _described(self, tasks: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(tasks), _DESCRIBED):
            some = tasks[start : start + _DESCRIBED]
            yield from self._client.describe_tasks(cluster=self._settings.cluster, tasks=some)["tasks"]

    def _stop(self, task: str, why: str) -> None:
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
        self._client.stop_task(cluster=self._settings.cluster, task=task, reason=why[:255])


def _task(task: Mapping[str, Any]) -> Task:
    arn = task["taskArn"]
    if task["lastStatus"] != "STOPPED":
        # One that ends still trains; one that never ran does not come any more, and ends soon.
        connected = task.get("connectivity") != "DISCONNECTED"
        return Task(
            arn=arn, phase=Phase.RUNNING if task.get("startedAt") else Phase.COMING, connected=connected
        )
    containers = task.get("containers", [])
    codes = [container.get("exitCode") for container in containers]
    told = next((container["reason"] for container in containers if container.get("reason")), "")
    by_itself = task.get("stopCode") in _BY_ITSELF and NO_RENDEZVOUS not in codes
    words = [task.get("stoppedReason") or task.get("stopCode") or "stopped"]
    words += [f"exit code {value}" for value in codes if value] + ([told] if told else [])
    return Task(
        arn=arn,
        phase=Phase.ENDED,
        cause=Cause.FAILED if by_itself else Cause.INTERRUPTED,
        done=bool(codes) and all(value == 0 for value in codes),
        reason="; ".join(words)[:500],
    )


def _said(failure: Mapping[str, Any]) -> str:
    return f"{failure.get('reason', 'no reason given')} {failure.get('detail', '')}".strip()
