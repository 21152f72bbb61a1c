"""Alarms and metrics.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.metric_reference import NAMESPACES, TOTALS, text_of
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    listed,
    number,
    objects,
    opaque,
    part,
)
from modelyard_cli.check.templates.scaling import POLICY, TRACKING, variants

ALARM = "AWS::CloudWatch::Alarm"
_PERCENT = re.compile(r"(Utilization|Percentage|Percent|PercentUtil)$")
_STATISTIC = re.compile(
    r"SampleCount|Average|Sum|Minimum|Maximum|IQM|(p|tm|tc|ts|wm)\d{1,2}(\.\d+)?|(PR|TM|TC|TS|WM)\([\d.:%]+\)"
)
_DIMENSION_TYPES = {
    "EndpointName": "AWS::SageMaker::Endpoint",
    "FunctionName": "AWS::Lambda::Function",
    "QueueName": "AWS::SQS::Queue",
    "TableName": "AWS::DynamoDB::Table",
    "StateMachineArn": "AWS::StepFunctions::StateMachine",
    "RuleName": "AWS::Events::Rule",
    "TopicName": "AWS::SNS::Topic",
    "ClusterName": "AWS::ECS::Cluster",
}


def metrics(template: Template) -> Iterator[tuple[Resource, str, dict[str, Any]]]:
    """(resource, path, metric) of every metric that something watches; `Statistic` and `Period` beside it."""
    for alarm in template.of(ALARM):
        if "MetricName" in alarm.properties:
            yield alarm, "", alarm.properties
        for index, query in enumerate(objects(alarm.properties.get("Metrics"))):
            stat = query.get("MetricStat")
            if isinstance(stat, dict) and isinstance(stat.get("Metric"), dict):
                yield (
                    alarm,
                    f"Metrics[{index}].MetricStat",
                    {**stat["Metric"], "Statistic": stat.get("Stat"), "Period": stat.get("Period")},
                )
    for policy in template.of(POLICY):
        custom = part(policy.properties, TRACKING, "CustomizedMetricSpecification")
        if isinstance(custom, dict) and "MetricName" in custom:
            yield policy, f"{TRACKING}.CustomizedMetricSpecification", custom


def _dimensions(metric: dict[str, Any]) -> dict[str, Any]:
    return {str(d.get("Name")): d.get("Value") for d in objects(metric.get("Dimensions"))}


@template_rule(
    "MYT501",
    "A metric that its namespace does not have",
    "Take a metric of the service's list; case counts. SageMaker: invocations in AWS/SageMaker, "
    "hardware in /aws/sagemaker/Endpoints.",
)
def _unknown(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        namespace, name = metric.get("Namespace"), metric.get("MetricName")
        if namespace in NAMESPACES and known(name) and name not in NAMESPACES[namespace]:
            elsewhere = [n for n, found in NAMESPACES.items() if name in found]
            hint = f"; it is in {elsewhere[0]}" if elsewhere else ""
            yield resource.at(path or "MetricName"), f"{namespace} has no metric {name!r}{hint}"
        elif isinstance(namespace, str) and known(namespace) and namespace not in NAMESPACES:
            close = [n for n in NAMESPACES if n.lower().strip("/") == namespace.lower().strip("/")]
            if close:
                yield resource.at(path or "Namespace"), f"there is no namespace {namespace!r}, but {close[0]}"
            elif namespace.startswith("AWS/") and name in {m for found in NAMESPACES.values() for m in found}:
                yield resource.at(path or "Namespace"), f"{name} is no metric of {namespace}"


@template_rule(
    "MYT502",
    "Dimensions under which nobody emits the metric",
    "Give exactly the dimensions that the service emits: a subset or a superset is another metric "
    "without data.",
)
def _wrong_dimensions(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        namespace, name = str(metric.get("Namespace")), str(metric.get("MetricName"))
        sets = NAMESPACES.get(namespace, {}).get(name)
        given = frozenset(_dimensions(metric))
        if sets and given not in sets:
            wanted = " or ".join("{" + ", ".join(sorted(s)) + "}" for s in sorted(sets, key=len))
            yield (
                resource.at(path or "Dimensions"),
                f"{name} has {wanted}, not {{{', '.join(sorted(given))}}}",
            )


@template_rule(
    "MYT503", "A dimension that names what is not there", "Refer to the resource, or mend the name."
)
def _values(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        given = _dimensions(metric)
        for name, value in given.items():
            kind = _DIMENSION_TYPES.get(name)
            if not kind or not isinstance(value, str) or opaque(value):
                continue
            target = template.assembly.target(value, kind)
            if value.startswith(("arn:", "https://")) and not name.endswith("Arn"):
                yield resource.at(path or "Dimensions"), f"{name} is a name, not {value}"
            elif target is None and any(True for _ in template.assembly.of(kind)):
                yield resource.at(path or "Dimensions"), f"there is no {kind} {value}"
            elif target is not None and name == "EndpointName" and isinstance(given.get("VariantName"), str):
                names = variants(target)
                if names and known(given["VariantName"]) and given["VariantName"] not in names:
                    yield (
                        resource.at(path or "Dimensions"),
                        f"endpoint {value} has no variant {given['VariantName']!r}, but: {', '.join(names)}",
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
            if not watched and any(a.properties.get("AlarmActions") for a in template.assembly.of(ALARM)):
                yield alarm.at("AlarmActions"), Advice("has no actions, and nothing else uses it")


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


_OF_AWS = ("AWS/", "/aws/", "aws/", "ECS/", "CWAgent", "LambdaInsights", "ContainerInsights")


@template_rule(
    "MYT508",
    "A metric of this application that nothing emits",
    "Mend the namespace or the name, or emit it: a metric filter, PutMetricData, or the embedded format.",
)
def _custom(template: Template) -> Hits:
    for resource, path, metric in metrics(template):
        namespace, name = metric.get("Namespace"), metric.get("MetricName")
        if not (isinstance(namespace, str) and isinstance(name, str) and known(namespace) and known(name)):
            continue
        if namespace.startswith(_OF_AWS):
            continue
        emitted = {
            (t.get("MetricNamespace"), t.get("MetricName")): frozenset(
                str(d.get("Key")) for d in objects(t.get("Dimensions"))
            )
            for f in template.assembly.of("AWS::Logs::MetricFilter")
            for t in objects(f.properties.get("MetricTransformations"))
        }
        if (namespace, name) in emitted:
            given, own = frozenset(_dimensions(metric)), emitted[namespace, name]
            if given != own:
                yield (
                    resource.at(path or "Dimensions"),
                    f"the metric filter gives {name} the dimensions {{{', '.join(sorted(own))}}}",
                )
            continue
        words = _words(template.assembly.folder)
        mentioned = any(
            namespace in str(r.raw)
            for t in template.assembly.templates
            for r in t.resources.values()
            if r.type not in (ALARM, POLICY, "AWS::CloudWatch::Dashboard", "AWS::Logs::MetricFilter")
        )
        if (words and name not in words) or not (words or mentioned):
            message = f"nothing here emits {name} in {namespace}"
            beside = namespace in {space for space, _ in emitted}
            # Without code and filters at hand, whoever emits it may be elsewhere.
            yield resource.at(path or "MetricName"), message if words or beside else Advice(message)


@lru_cache(maxsize=8)
def _words(folder: str) -> str:
    """The text of the code assets of an assembly."""
    texts = []
    for path in sorted(Path(folder).glob("asset.*")) if folder else ():
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        texts += [text_of(file) for file in files]
    return "".join(texts)


@template_rule(
    "MYT509",
    "A metric filter that its log group never feeds",
    "Refer to the log group that the function or container writes to; the value is a number or a field.",
)
def _filters(template: Template) -> Hits:
    for resource in template.of("AWS::Logs::MetricFilter", "AWS::Logs::SubscriptionFilter"):
        name = resource.properties.get("LogGroupName")
        groups = {g.name for g in template.assembly.of("AWS::Logs::LogGroup")}
        if (
            isinstance(name, str)
            and known(name)
            and groups
            and name not in groups
            and not name.startswith("/aws/")
        ):
            yield resource.at("LogGroupName"), f"there is no log group {name}"
        for index, transformation in enumerate(objects(resource.properties.get("MetricTransformations"))):
            value = str(transformation.get("MetricValue"))
            if number(value) is None and not value.startswith("$"):
                yield (
                    resource.at(f"MetricTransformations[{index}].MetricValue"),
                    f"{value!r} is neither a number nor a field",
                )
