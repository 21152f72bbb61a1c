"""How an update shifts requests to the new fleet, as a DeploymentConfig says. No I/O.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeploymentConfig.html
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
# Per cent of the new fleet, of https://docs.aws.amazon.com/sagemaker/latest/APIReference/
# API_TrafficRoutingConfig.html
_LEAST = {"CANARY": 0, "LINEAR": 10}
_MOST = 50


class RolloutError(Exception):
    """The configuration cannot be; the message is for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Requests for a share of the new fleet, then `seconds` in which alarms are watched.

    Args:
        share: of all requests, above 0; 1 for the last step.
        instances: of the new fleet that this share stands for.
        name: of the setting that says how long.
    """

    share: float
    instances: int
    seconds: int
    name: str

    @property
    def capacity(self) -> str:
        """As the messages of deployments have it."""
        kind = "full" if self.share == 1.0 else "canary"
        return f"{kind} capacity of {self.instances} instance(s)"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One update.

    Args:
        limit: seconds that all of it may take, None without a limit.
        alarms: names; one in the state ALARM during a step's wait rolls back.
    """

    steps: tuple[Step, ...]
    limit: int | None = None
    alarms: tuple[str, ...] = ()


def plan(config: Mapping[str, Any] | None, instances: int) -> Rollout:
    """What an update does.

    Args:
        config: DeploymentConfig; None switches all at once, watched by nobody.
        instances: of the new fleet.

    Raises:
        RolloutError: AWS's limits are not kept, or it asks for what the local SageMaker does not do.

    Example:
        >>> [step.share for step in plan(None, 2).steps]
        [1.0]
    """
    config = config or {}
    if "RollingUpdatePolicy" in config:
        raise RolloutError("RollingUpdatePolicy: the local SageMaker does blue/green updates only.")
    alarms = tuple(
        alarm["AlarmName"] for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    )
    policy = config.get("BlueGreenUpdatePolicy")
    if policy is None:
        return Rollout((Step(1.0, instances, 0, "TerminationWaitInSeconds"),), alarms=alarms)
    routing = policy["TrafficRoutingConfiguration"]
    wait = routing["WaitIntervalInSeconds"]
    steps = [
        Step(share, max(1, math.ceil(round(share * instances, 6))), wait, "WaitIntervalInSeconds")
        for share in _shares(routing, instances)
    ]
    # The wait before the old fleet ends is a bake as well: alarms still bring it back.
    last = Step(1.0, instances, policy.get("TerminationWaitInSeconds", 0), "TerminationWaitInSeconds")
    return Rollout((*steps, last), policy.get("MaximumExecutionTimeoutInSeconds"), alarms)


def _shares(routing: Mapping[str, Any], instances: int) -> list[float]:
    """Of the steps before the last."""
    kind = routing["Type"]
    member = _SIZES.get(kind)
    if member is None:
        return []
    size = routing.get(member)
    if size is None:
        raise RolloutError(f"TrafficRoutingConfiguration of type {kind} needs {member}.")
    step = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)
    percent = 100 * step
    # One instance of one is all that a fleet of one can turn on.
    if size["Type"] == "CAPACITY_PERCENT" and not _LEAST[kind] <= percent <= _MOST:
        raise RolloutError(f"{member} is {size['Value']} %; it must be {_LEAST[kind] or 1} to {_MOST} %.")
    if size["Type"] == "INSTANCE_COUNT" and instances > 1 and percent > _MOST:
        raise RolloutError(f"{member} is {size['Value']} of {instances} instances; at most half may be.")
    if kind == "CANARY":
        return [step] if step < 1 else []
    return [step * number for number in range(1, math.ceil(round(1 / step, 6)))]
