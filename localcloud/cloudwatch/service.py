"""Puts the evaluation of alarms by AWS's rules into MiniStack's CloudWatch, in the place of its own.

MiniStack takes all points of the time that an alarm spans, of whatever dimensions, for one datapoint,
whenever one arrives: an alarm without data never changes its state, and none waits for a period to end.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

from __future__ import annotations

from functools import partial
from typing import Any

from localcloud.autoscaling.rules.alarm import State
from localcloud.cloudwatch import datapoints, math_alarms, transitions
from localcloud.cloudwatch.evaluator import Evaluator
from localcloud.context import Cloud


def install(cloud: Cloud) -> Evaluator:
    """Evaluate every metric alarm from now on; `close` ends it."""
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    def nothing(*_: Any) -> None:
        """Alarms are evaluated when their period ends, not when a point arrives."""

    def alarms() -> list[dict[str, Any]]:
        with request_scope(cloud.account, cloud.region):
            return list(cloudwatch._alarms.values())

    def change(name: str, state: State, reason: str, data: str) -> None:
        request = {
            "AlarmName": name,
            "StateValue": state.value,
            "StateReason": reason,
            "StateReasonData": data,
        }
        with request_scope(cloud.account, cloud.region):
            cloudwatch._set_alarm_state({}, request, is_cbor=False, is_json=True)

    def stay(name: str, state: State, newest: float | None) -> None:
        with request_scope(cloud.account, cloud.region):
            alarm = cloudwatch._alarms.get(name)
        if alarm is not None:
            transitions.ask_for_scaling(alarm, state.value, newest)

    cloudwatch._evaluate_alarm = nothing
    cloudwatch._evaluate_all_alarms = nothing
    math_alarms.install()
    transitions.install(cloud)
    evaluator = Evaluator(alarms, partial(datapoints.read, cloud), change, stay=stay, clock=cloud.clock)
    evaluator.start()
    return evaluator
