"""One update of an endpoint: the new fleet comes up, takes requests step by step, and stays or goes.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws import identity
from localcloud.aws.errors import RoleNotAssumable
from localcloud.cloudwatch.states import states
from localcloud.context import Cloud
from localcloud.sagemaker.hosting.fleet import Fleet
from localcloud.sagemaker.hosting.instance import StartError
from localcloud.sagemaker.hosting.rollout import Rollout, Step
from localcloud.sagemaker.hosting.traffic import Traffic

_LOOK_SECONDS = 0.2
# (status, message) of https://docs.aws.amazon.com/sagemaker/latest/APIReference/
# API_ProductionVariantStatus.html, and the share of requests that the new fleet has
Note = Callable[[str, str, float], None]


class Interrupted(Exception):
    """The local cloud stops: what has begun ends with its next start."""


class RolledBack(Exception):
    """The old fleet has all requests again; the message says why."""


class Deployment:
    """Shifts requests to a new fleet, watched by alarms.

    Args:
        role_arn: of the new model, which must be allowed to describe the alarms.
        closed: whether the cloud stops.
        note: told what goes on.
    """

    def __init__(
        self, cloud: Cloud, rollout: Rollout, role_arn: str, closed: Callable[[], bool], note: Note
    ) -> None:
        self._cloud, self._rollout, self._role_arn = cloud, rollout, role_arn
        self._closed, self._note = closed, note
        limit = rollout.limit
        self._deadline = None if limit is None else time.monotonic() + limit / cloud.clock

    def start(self, green: Fleet) -> None:
        """Bring the new fleet up; on failure nothing of it stays.

        Raises:
            StartError: it does not come up.
            RolledBack: in no time.
            Interrupted: the cloud stops.
        """
        count = sum(variant.size for variant in green.variants.values())
        self._note("Creating", f"Launching {count} instance(s).", 0.0)
        try:
            green.start(lambda: self._closed() or self._late())
        except StartError:
            if self._closed():
                raise Interrupted from None
            if self._late():
                raise self._timed_out() from None
            raise

    def shift(self, traffic: Traffic, green: Fleet) -> None:
        """Give the new fleet the requests, step by step; `traffic` still knows both at the end.

        Raises:
            RolledBack: an alarm fired, or time is up; the old fleet has all requests.
            Interrupted: the cloud stops.
        """
        try:
            self._allowed()
            for step in self._rollout.steps:
                self._note("ActivatingTraffic", f"Activating traffic on {step.capacity}.", step.share)
                traffic.shift(green, step.share)
                if step.seconds:
                    self._bake(step)
        except RolledBack:
            traffic.shift(green, 0.0)
            raise

    def _bake(self, step: Step) -> None:
        what = f"{step.seconds} seconds ({step.name}) with traffic enabled on {step.capacity}"
        self._note("Baking", f"Baking for {what}.", step.share)
        end = time.monotonic() + step.seconds / self._cloud.clock
        while True:
            self._look(what)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_LOOK_SECONDS, left))

    def _look(self, what: str) -> None:
        if self._closed():
            raise Interrupted
        for name, state in states(self._cloud, self._rollout.alarms).items():
            if state == "ALARM":
                raise RolledBack(f"The alarm {name} was in the state ALARM while baking for {what}.")
            if state is None:
                raise RolledBack(f"There is no alarm {name}, which AutoRollbackConfiguration names.")
        if self._late():
            raise self._timed_out()

    def _allowed(self) -> None:
        """Ask IAM whether the execution role may look at the alarms, as AWS's page demands."""
        cloud = self._cloud
        if not self._rollout.alarms:
            return
        try:
            role = identity.assume_role(
                self._role_arn, service="sagemaker.amazonaws.com", session="SageMaker"
            )
            for name in self._rollout.alarms:
                arn = f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{name}"
                identity.require_of(cloud, role, "cloudwatch:DescribeAlarms", arn)
        except (identity.AccessDenied, RoleNotAssumable) as error:
            raise RolledBack(f"The alarms of AutoRollbackConfiguration cannot be watched: {error}") from error

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _timed_out(self) -> RolledBack:
        return RolledBack(
            f"The deployment did not complete within {self._rollout.limit} seconds "
            "(MaximumExecutionTimeoutInSeconds)."
        )


def pending(
    plan: Mapping[str, Any], started: float, moment: float, status: str, message: str, share: float
) -> dict[str, Any]:
    """PendingDeploymentSummary of DescribeEndpoint.

    Args:
        plan: of the new fleet, as the endpoint's record keeps it.
        started, moment: epoch seconds.
        share: of the requests that the new fleet has.
    """
    shown = ("VariantName", "DeployedImages", "DesiredWeight", "DesiredInstanceCount")
    variants = []
    for entry in plan["Variants"]:
        summary = entry["Summary"]
        up = 0 if status == "Creating" else summary["DesiredInstanceCount"]
        variants.append(
            {
                **{member: summary[member] for member in shown},
                "CurrentWeight": summary["DesiredWeight"] * share,
                "CurrentInstanceCount": up,
                "VariantStatus": [{"Status": status, "StatusMessage": message, "StartTime": moment}],
            }
        )
    return {
        "EndpointConfigName": plan["EndpointConfigName"],
        "ProductionVariants": variants,
        "StartTime": started,
    }
