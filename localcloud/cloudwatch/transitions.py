"""What an alarm's change of state sets off: SNS, as MiniStack has it, an event, functions, scaling policies.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.aws import events
from localcloud.aws.differences import event_targets
from localcloud.context import Cloud

_ACTIONS = {
    "ALARM": "AlarmActions",
    "OK": "OKActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
# (policy's ARN, alarm, newest datapoint of its metric)
Scale = Callable[[str, Mapping[str, Any], float | None], None]
_PRINCIPAL = "lambda.alarms.cloudwatch.amazonaws.com"
_log = logging.getLogger(__name__)
_scalers: list[Scale] = []


def scale_with(scale: Scale) -> None:
    """Hand scaling policies that alarms name to what scales, from now on."""
    _scalers[:] = [scale]


def ask_for_scaling(alarm: Mapping[str, Any], state: str, value: float | None) -> None:
    """Set off the scaling policies that an alarm names for a state."""
    if not alarm.get("ActionsEnabled", True) or "AlarmRule" in alarm:
        return
    for action in alarm.get(_ACTIONS.get(state, "")) or ():
        if ":scalingPolicy:" in str(action):
            for scale in _scalers:
                scale(str(action), alarm, value)


def install(cloud: Cloud) -> None:
    """Let every change of state, of metric and composite alarms and by SetAlarmState, set off both."""
    from ministack.services import cloudwatch

    dispatch: Callable[[dict[str, Any], str, str, str], None] = cloudwatch._dispatch_alarm_actions
    last: dict[str, dict[str, str]] = {}

    def dispatch_all(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        dispatch(alarm, old_state, new_state, reason)
        state = _state(alarm, new_state, reason)
        previous = last.get(alarm["AlarmName"], {})
        previous = previous if previous.get("value") == old_state else {"value": old_state}
        last[alarm["AlarmName"]] = state
        data = {
            "alarmName": alarm["AlarmName"],
            "state": state,
            "previousState": previous,
            "configuration": configuration(alarm),
        }
        events.emit(cloud, "aws.cloudwatch", "CloudWatch Alarm State Change", data, [alarm["AlarmArn"]])
        ask_for_scaling(alarm, new_state, _newest(alarm))
        if alarm.get("ActionsEnabled", True):
            for action in alarm.get(_ACTIONS.get(new_state, "")) or ():
                if ":lambda:" in str(action):
                    _invoke(cloud, str(action), alarm["AlarmArn"], data, state["timestamp"])

    cloudwatch._dispatch_alarm_actions = dispatch_all


def _newest(alarm: Mapping[str, Any]) -> float | None:
    """The last datapoint that the reason of an alarm's state names."""
    try:
        points = json.loads(alarm.get("StateReasonData") or "{}").get("recentDatapoints") or [None]
        return None if points[-1] is None else float(points[-1])
    except (ValueError, TypeError, AttributeError):
        # Whoever sets a state by hand may give anything as its reason.
        return None


def configuration(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm's configuration as its events carry it."""
    shown: dict[str, Any] = {}
    if alarm.get("AlarmDescription"):
        shown["description"] = alarm["AlarmDescription"]
    if "AlarmRule" in alarm:
        return {**shown, "alarmRule": alarm["AlarmRule"]}
    if "Metrics" in alarm:
        return {**shown, "metrics": [_query(query) for query in alarm["Metrics"]]}
    metric = {
        "namespace": alarm.get("Namespace"),
        "name": alarm.get("MetricName"),
        "dimensions": {entry["Name"]: entry["Value"] for entry in alarm.get("Dimensions") or ()},
    }
    stat = {
        "metric": metric,
        "period": alarm.get("Period"),
        "stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
    }
    return {**shown, "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": query["Id"], "returnData": query["ReturnData"]}
    if "Expression" in query:
        return {**shown, "expression": query["Expression"]}
    stat = query["MetricStat"]
    dimensions = {entry["Name"]: entry["Value"] for entry in stat["Metric"].get("Dimensions") or ()}
    metric = {
        "namespace": stat["Metric"]["Namespace"],
        "name": stat["Metric"]["MetricName"],
        "dimensions": dimensions,
    }
    return {**shown, "metricStat": {"metric": metric, "period": stat["Period"], "stat": stat["Stat"]}}


def _state(alarm: Mapping[str, Any], value: str, reason: str) -> dict[str, str]:
    data = alarm.get("StateReasonData")
    moment = datetime.now(UTC)
    return {
        "value": value,
        "reason": reason,
        **({"reasonData": data} if data else {}),
        "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000",
    }


def _invoke(cloud: Cloud, function: str, alarm_arn: str, data: dict[str, Any], moment: str) -> None:
    if not event_targets.policy_allows(function, alarm_arn, _PRINCIPAL):
        _log.warning("alarm %s: the policy of %s does not let CloudWatch invoke it", alarm_arn, function)
        return
    payload = {
        "source": "aws.cloudwatch",
        "alarmArn": alarm_arn,
        "accountId": cloud.account,
        "time": moment,
        "region": cloud.region,
        "alarmData": data,
    }
    event_targets.invoke_function(function, json.dumps(payload))
