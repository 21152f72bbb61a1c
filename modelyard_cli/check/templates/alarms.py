"""Alarms: their statistics, periods and thresholds, and whether they can go off.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import re

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.metric_reference import TOTALS
from modelyard_cli.check.templates.metric_use import ALARM, metrics
from modelyard_cli.check.templates.model import (
    Assembly,
    Template,
    known,
    listed,
    number,
)
from modelyard_cli.check.templates.scaling import POLICY

_PERCENT = re.compile(r"(Utilization|Percentage|Percent|PercentUtil)$")
_STATISTIC = re.compile(
    r"SampleCount|Average|Sum|Minimum|Maximum|IQM|(p|tm|tc|ts|wm)\d{1,2}(\.\d+)?|(PR|TM|TC|TS|WM)\([\d.:%]+\)"
)


@template_rule(
    "MYT504",
    "A statistic that says nothing of the metric",
    "Sum for counts, Average or Maximum for gauges, percentiles for latencies.",
)
def _statistics(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        statistic = metric.get("Statistic") or metric.get("ExtendedStatistic")
        name = str(metric.get("MetricName"))
        if not isinstance(statistic, str) or not known(statistic):
            if resource.type == ALARM and path == "" and not metric.get("ExtendedStatistic"):
                yield resource.at("Statistic"), "is missing"
            continue
        if not _STATISTIC.fullmatch(statistic):
            yield resource.at(path or "Statistic"), f"there is no statistic {statistic!r}"
        elif statistic == "Sum" and (
            _PERCENT.search(name)
            or name.endswith(("Latency", "Duration"))
            or name.startswith("ApproximateAgeOf")
            or name in ("ApproximateNumberOfMessagesVisible", "ConcurrentExecutions")
        ):
            yield resource.at(path or "Statistic"), f"the Sum of {name} grows with the number of samples"
        elif (
            name in TOTALS
            and statistic in ("Average", "Maximum", "Minimum")
            and metric.get("Namespace") in ("AWS/Lambda", "AWS/Events", "AWS/States")
        ):
            if (number(resource.properties.get("Threshold")) or 0) >= 1 and statistic == "Average":
                yield (
                    resource.at(path or "Statistic"),
                    f"the {statistic} of {name} is at most 1 a sample: Sum counts them",
                )
        elif name == "InvocationsPerInstance" and statistic != "Sum":
            yield resource.at(path or "Statistic"), "InvocationsPerInstance has the statistic Sum only"


@template_rule(
    "MYT505",
    "A period or number of periods that CloudWatch refuses",
    "Periods of 10, 20, 30 or multiples of 60 s; AWS's own metrics from 60 s; periods times "
    "evaluations at most a day, or a week from an hour on.",
)
def _periods(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        period = number(metric.get("Period"))
        if period is not None and period not in (10, 20, 30) and (period <= 0 or period % 60):
            yield resource.at(path or "Period"), f"{period:g} s"
        elif (
            period is not None
            and period < 60
            and str(metric.get("Namespace")).startswith(("AWS/", "/aws/"))
            and not str(metric.get("MetricName")).startswith("Concurrent")
        ):
            yield (
                resource.at(path or "Period"),
                f"{metric.get('Namespace')} emits once a minute, not every {period:g} s",
            )
        evaluations, datapoints = (
            number(resource.properties.get(m)) for m in ("EvaluationPeriods", "DatapointsToAlarm")
        )
        if datapoints is not None and evaluations is not None and datapoints > evaluations:
            yield resource.at("DatapointsToAlarm"), f"{datapoints:g} of {evaluations:g} periods"
        if period and evaluations and period * evaluations > (604_800 if period >= 3600 else 86_400):
            yield resource.at("EvaluationPeriods"), f"{evaluations:g} periods of {period:g} s are too long"
        if evaluations is not None and evaluations < 1:
            yield resource.at("EvaluationPeriods"), f"is {evaluations:g}"


@template_rule(
    "MYT506",
    "A threshold that is always, or never, crossed",
    "Percentages up to 100, rates up to 1, counts of 1 or more; latencies of SageMaker are microseconds.",
)
def _thresholds(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        threshold, name = number(resource.properties.get("Threshold")), str(metric.get("MetricName"))
        comparison = str(resource.properties.get("ComparisonOperator"))
        if resource.type != ALARM or threshold is None or "Metrics" in resource.properties:
            continue
        greater, at = comparison.startswith("Greater"), resource.at("Threshold")
        most = _most(name, str(metric.get("Statistic")), str(metric.get("Namespace")))
        if (
            greater
            and most is not None
            and (threshold > most or (threshold == most and comparison == "GreaterThanThreshold"))
        ):
            yield at, f"{name} is at most {most:g}: the alarm never goes off"
        elif (
            comparison == "GreaterThanOrEqualToThreshold"
            and threshold <= 0
            and name not in ("CPUUtilization",)
        ):
            yield at, f"{name} is always at least {threshold:g}: the alarm never ends"
        elif comparison == "LessThanThreshold" and threshold <= 0:
            yield at, f"{name} is never below {threshold:g}: the alarm never goes off"
        elif (
            greater
            and name in ("ModelLatency", "OverheadLatency")
            and metric.get("Namespace") == "AWS/SageMaker"
            and threshold < 1000
        ):
            yield at, f"{name} is in microseconds: {threshold:g} is less than a millisecond"
        del path


def _most(name: str, statistic: str, namespace: str) -> float | None:
    if statistic not in ("Average", "Maximum", "Minimum") and not statistic.startswith("p"):
        return None
    if name in ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors", "ModelCacheHit"):
        return 1
    # SageMaker counts 100 for each core and each GPU.
    if _PERCENT.search(name) and not (
        namespace.startswith("/aws/sagemaker")
        and name in ("CPUUtilization", "GPUUtilization", "GPUMemoryUtilization")
    ):
        return 1 if name == "ProvisionedConcurrencyUtilization" else 100
    return None


@template_rule(
    "MYT507",
    "An alarm that nobody hears",
    "Give AlarmActions, or use it for a roll-back or a composite alarm; ActionsEnabled must not be false.",
)
def _silent(template: Template) -> Hits:
    text = None
    for alarm in template.of(ALARM, "AWS::CloudWatch::CompositeAlarm"):
        p = alarm.properties
        if p.get("ActionsEnabled") in (False, "false") and p.get("AlarmActions"):
            yield alarm.at("ActionsEnabled"), "is false: its actions never run"
        if p.get("AlarmActions"):
            continue
        if text is None:
            text = "".join(
                str(r.raw)
                for t in template.assembly.templates
                for r in t.resources.values()
                if r.type != ALARM
            )
            text += "".join(str(t.document.get("Outputs")) for t in template.assembly.templates)
        if (
            f"'{alarm.id}'" not in text
            and f"{{{alarm.id}" not in text
            and (not known(alarm.name) or alarm.name not in text)
        ):
            dashboards = any(True for _ in template.assembly.of("AWS::Events::Rule"))
            watched = dashboards and "CloudWatch Alarm State Change" in text
            if not watched and _tell(template.assembly):
                yield alarm.at("AlarmActions"), Advice("has no actions, and nothing else uses it")


def _tell(assembly: Assembly) -> bool:
    """Whether any alarm is heard by somebody: what it sets off to scale is not."""
    return any(
        assembly.target(action, POLICY, "AWS::AutoScaling::ScalingPolicy") is None
        for alarm in assembly.of(ALARM)
        for action in listed(alarm.properties.get("AlarmActions"))
    )


_HARMS = {
    "ApproximateAgeOfOldestMessage",
    "Errors",
    "ExecutionsFailed",
    "Invocation4XXErrors",
    "Invocation5XXErrors",
    "ModelLatency",
    "OverheadLatency",
    "Throttles",
}


@template_rule(
    "MYT510",
    "An alarm that goes off while all is well",
    "Errors and latencies are compared with GreaterThan...: less of them is better.",
)
def _reversed(template: Template) -> Hits:
    for alarm in template.of(ALARM):
        p = alarm.properties
        actions = listed(p.get("AlarmActions"))
        if (
            p.get("MetricName") in _HARMS
            and str(p.get("ComparisonOperator")).startswith("LessThan")
            and str(p.get("Namespace")).startswith("AWS/")
            # Capacity is taken away when little happens.
            and not any(template.assembly.target(action, POLICY) for action in actions)
        ):
            yield alarm.at("ComparisonOperator"), f"is {p['ComparisonOperator']} for {p['MetricName']}"
