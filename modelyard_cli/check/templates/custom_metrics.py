"""Metrics that no service of AWS sends.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/publishingMetrics.html
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.metric_reference import text_of
from modelyard_cli.check.templates.metric_use import ALARM, dimensions_of, metrics
from modelyard_cli.check.templates.model import (
    Template,
    known,
    number,
    objects,
)
from modelyard_cli.check.templates.scaling import POLICY

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
            given, own = frozenset(dimensions_of(metric)), emitted[namespace, name]
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
