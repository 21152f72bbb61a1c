"""Single hosts: each is an execution of the state machine that starts, watches and ends it; `ports.Hosts`.

`modelyard.training.instance_driver` is that machine. An execution is named after the attempt, so that whoever
knows the attempt finds it, and asking twice starts one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from .attempts import Cause
from .aws_ec2 import Fate, terminate
from .aws_errors import code
from .ports import Hosts, Outcome, Phase, Started, Task

# The host is started, and mostly told what to do, by the first of them, however often that was tried.
_EVENTS = 200
# Of the driver's own ends.
_INTERRUPTED, _FAILURES = "HostEnded", ("JobFailed", "CommandRefused")
# Until EC2 knows everywhere of a host that it has started.
# https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
_KNOWN_AFTER = timedelta(minutes=5)
# What the driver's input has no member for.
_VARIABLES = (
    "JOB_TABLE", "PAID_NODE_SECONDS", "PRICE_PER_HOST_HOUR", "TRAINING_CLUSTER", "WANDB_PROJECT",
    "WANDB_MODE",
)  # fmt: skip


class DriverHosts:
    """Executions of one driver.

    Args:
        steps: A `stepfunctions` client.
        ec2: Makes an `ec2` client; it takes long, and hosts are seldom ended from here.
        driver: ARN of the state machine.
    """

    def __init__(self, steps: Any, ec2: Callable[[], Any], driver: str) -> None:
        self._steps, self._ec2, self._driver = steps, ec2, driver

    def run(
        self,
        attempt: str,
        count: int,
        environment: Mapping[str, str],
        *,
        provider: int,
        token: str,
        alone: bool = True,
    ) -> Started:
        del count, provider, token, alone
        given = {
            "job": environment["JOB_NAME"],
            "attempt": int(environment["ATTEMPT"]),
            "dataset": environment["DATASET_URI"],
            "checkpoints": environment["CHECKPOINT_URI"],
            "output": environment["OUTPUT_URI"],
            "hyperparameters": json.loads(environment["HYPERPARAMETERS"]),
            "variables": _encoded({name: environment[name] for name in _VARIABLES if name in environment}),
        }
        try:
            self._steps.start_execution(
                stateMachineArn=self._driver, name=_name(attempt), input=json.dumps(given, sort_keys=True)
            )
        except ClientError as error:
            if code(error) != "ExecutionAlreadyExists":
                raise
        return Started(tasks=(self._arn(attempt),))

    def look(self, tasks: Iterable[str]) -> tuple[Task, ...]:
        return tuple(self._task(arn) for arn in tasks)

    def stop(self, attempt: str, tasks: Iterable[str], reason: str) -> tuple[str, ...]:
        wanted = dict.fromkeys((self._arn(attempt), *tasks))
        return tuple(arn for arn in wanted if self._end(arn, reason))

    def evict(self, tasks: Iterable[str]) -> tuple[str, ...]:
        return tuple(arn for arn in tasks if self._evicted(arn))

    def let_go(self, tasks: Iterable[str], reason: str) -> None:
        for arn in tasks:
            self._end(arn, reason)

    def attempts(self) -> frozenset[str]:
        pages = self._steps.get_paginator("list_executions").paginate(
            stateMachineArn=self._driver, statusFilter="RUNNING"
        )
        names = (one["name"] for page in pages for one in page["executions"])
        return frozenset("/".join(name.rsplit("_", 1)) for name in names)

    def drain(self, instance: str, reason: str) -> int:
        """A single host hears of it by itself."""
        del instance, reason
        return 0

    def _arn(self, attempt: str) -> str:
        return f"{self._driver.replace(':stateMachine:', ':execution:')}:{_name(attempt)}"

    def _described(self, arn: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._steps.describe_execution(executionArn=arn)
        except ClientError as error:
            if code(error) == "ExecutionDoesNotExist":
                return None
            raise
        return found

    def _task(self, arn: str) -> Task:
        found = self._described(arn)
        if found is None:
            return Task(arn=arn, phase=Phase.ENDED, reason="Step Functions does not know the execution")
        if found["status"] == "RUNNING":
            return Task(arn=arn, phase=Phase.RUNNING if _instance(self._done(arn)) else Phase.COMING)
        error = found.get("error", "")
        words = f"{error or found['status'].lower()}: {found.get('cause', '')}".rstrip(": ")
        return Task(
            arn=arn,
            phase=Phase.ENDED,
            cause=Cause.FAILED if error in _FAILURES else Cause.INTERRUPTED,
            done=found["status"] == "SUCCEEDED",
            reason=words[:500],
        )

    def _end(self, arn: str, reason: str) -> bool:
        """Whether the host may still run. Once it is gone the driver sees that, and ends."""
        found = self._described(arn)
        if found is None or found["status"] != "RUNNING":
            return not self._over(arn, found)
        if reason == Outcome.FINISHED.value:
            # The trainer said so first: its command ends now, and the driver then ends the host.
            return True
        done = self._done(arn)
        if "sendCommand" in done:
            self._ends(_instance(done))
        else:
            # It waits for a host, or for SSM to hear of one, which it never does now.
            self._take(arn, reason)
        return True

    def _evicted(self, arn: str) -> bool:
        found = self._described(arn)
        if found is None or found["status"] != "RUNNING":
            return self._over(arn, found)
        return self._take(arn, "taken away")

    def _take(self, arn: str, reason: str) -> bool:
        """End the host, if there is one, and the execution; whether both end."""
        instance = _instance(self._done(arn))
        ends = self._ends(instance)
        self._steps.stop_execution(executionArn=arn, error=_INTERRUPTED, cause=reason[:500])
        # One may have come since it was looked for. What EC2 has not answered by now ends by its own clock.
        return ends if instance else self._ends(_instance(self._done(arn)))

    def _over(self, arn: str, found: Mapping[str, Any] | None) -> bool:
        """Whether the host of an execution that has ended does so too."""
        if found is None or found["status"] != "ABORTED":
            return True
        # The driver ends it no more, and whoever stopped it may have been stopped there.
        since = datetime.now(UTC) - found["stopDate"]
        return self._ends(_instance(self._done(arn)), known=since > _KNOWN_AFTER)

    def _ends(self, instance: str, *, known: bool = False) -> bool:
        """Whether it ends now, or has, or there is none; `known` if EC2 would know it."""
        fate = terminate(self._ec2(), instance) if instance else Fate.ENDS
        return fate is Fate.ENDS or (known and fate is Fate.UNKNOWN)

    def _done(self, arn: str) -> Mapping[str, str]:
        """What AWS answered to the driver, by the name of the action."""
        events = self._steps.get_execution_history(executionArn=arn, maxResults=_EVENTS)["events"]
        told = (
            event["taskSucceededEventDetails"] for event in events if "taskSucceededEventDetails" in event
        )
        return {one["resource"].rpartition(":")[2]: one["output"] for one in told}


class EitherHosts:
    """The cluster's hosts, and single ones; `ports.Hosts`."""

    def __init__(self, cluster: Hosts, single: Hosts) -> None:
        self._cluster, self._single = cluster, single

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
        which = self._single if alone else self._cluster
        return which.run(attempt, count, environment, provider=provider, token=token, alone=alone)

    def look(self, tasks: Iterable[str]) -> tuple[Task, ...]:
        alone, gang = _parted(tasks)
        return (*(self._cluster.look(gang) if gang else ()), *(self._single.look(alone) if alone else ()))

    def stop(self, attempt: str, tasks: Iterable[str], reason: str) -> tuple[str, ...]:
        # Also without tasks: whoever sweeps knows the attempt alone.
        alone, gang = _parted(tasks)
        return self._cluster.stop(attempt, gang, reason) + self._single.stop(attempt, alone, reason)

    def evict(self, tasks: Iterable[str]) -> tuple[str, ...]:
        alone, gang = _parted(tasks)
        return (*(self._cluster.evict(gang) if gang else ()), *(self._single.evict(alone) if alone else ()))

    def let_go(self, tasks: Iterable[str], reason: str) -> None:
        alone, gang = _parted(tasks)
        self._cluster.let_go(gang, reason)
        self._single.let_go(alone, reason)

    def attempts(self) -> frozenset[str]:
        return self._cluster.attempts() | self._single.attempts()

    def drain(self, instance: str, reason: str) -> int:
        return self._cluster.drain(instance, reason)


def _parted(tasks: Iterable[str]) -> tuple[list[str], list[str]]:
    """Executions, and tasks of ECS."""
    known = list(tasks)
    return [one for one in known if ":states:" in one], [one for one in known if ":states:" not in one]


def _instance(done: Mapping[str, str]) -> str:
    """Id of the host, once there is one."""
    answer = done.get("runInstances")
    return str(json.loads(answer)["Instances"][0]["InstanceId"]) if answer else ""


def _name(attempt: str) -> str:
    """Names of jobs hold no `_`."""
    return attempt.replace("/", "_")


def _encoded(variables: Mapping[str, str]) -> str:
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    return base64.b64encode(lines.encode()).decode()
