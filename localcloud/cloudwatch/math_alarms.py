"""Alarms on expressions, through PutMetricAlarm and templates: MiniStack drops or refuses their `Metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.cloudwatch import queries
from localcloud.cloudwatch.expression import ExpressionError

# What an alarm on an expression does not have.
_SINGLE = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")
_PLACEHOLDER = {"MetricName": "expression", "Namespace": "expression"}


def install() -> None:
    """Wrap both ways to an alarm."""
    from ministack.services import cloudwatch
    from ministack.services.cloudformation import provisioners

    put: Callable[..., Any] = cloudwatch._put_metric_alarm
    record: Callable[[str, Mapping[str, Any]], dict[str, Any]] = provisioners._cw_metric_alarm_record

    def put_metric_alarm(params: Any, data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        if "Metrics.member.1.Id" in (params or {}):
            message = "Metrics: send this alarm as JSON or CBOR, as SDKs of this decade do."
            return cloudwatch._error("ValidationError", message, 400)
        metrics = data.get("Metrics") if is_cbor or is_json else None
        if not metrics:
            return put(params, data, is_cbor, is_json)
        try:
            _check(data, metrics)
        except ExpressionError as error:
            return cloudwatch._error("ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor)
        rest = {name: value for name, value in data.items() if name != "Metrics"}
        answer = put(params, rest, is_cbor, is_json)
        if answer[0] < 300:
            _become(cloudwatch._alarms[data["AlarmName"]], metrics)
        return answer

    def alarm_record(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        if not metrics:
            return record(name, properties)
        _check(properties, metrics)
        rest = {key: value for key, value in properties.items() if key != "Metrics"}
        return _become(record(name, {**rest, **_PLACEHOLDER}), metrics)

    cloudwatch._put_metric_alarm = put_metric_alarm
    provisioners._cw_metric_alarm_record = alarm_record


def _check(request: Mapping[str, Any], metrics: list[dict[str, Any]]) -> None:
    given = [name for name in _SINGLE if request.get(name)]
    if given:
        raise ExpressionError(f"Metrics cannot be given with {', '.join(given)}.")
    queries.read(metrics)


def _become(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    for name in _SINGLE:
        alarm.pop(name, None)
    alarm["Metrics"] = [_typed(query) for query in metrics]
    return alarm


def _typed(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query as the API describes it: templates may write numbers and booleans as text."""
    found = {**query, "ReturnData": str(query.get("ReturnData", True)).lower() == "true"}
    if "MetricStat" in query:
        found["MetricStat"] = {**query["MetricStat"], "Period": int(query["MetricStat"]["Period"])}
    return found
