"""The metrics that alarms and scaling policies watch.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.metric_reference import NAMESPACES
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    objects,
    opaque,
    part,
)
from modelyard_cli.check.templates.scaling import POLICY, TRACKING, variants

ALARM = "AWS::CloudWatch::Alarm"
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


def dimensions_of(metric: dict[str, Any]) -> dict[str, Any]:
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
        given = frozenset(dimensions_of(metric))
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
        given = dimensions_of(metric)
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
