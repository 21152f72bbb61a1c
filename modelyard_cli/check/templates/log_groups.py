"""Log groups that services make themselves, under names that are theirs.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Template
from modelyard_cli.check.templates.policies import all_statements

_SAGEMAKER = (
    "Clusters",
    "CompilationJobs",
    "Endpoints",
    "InferenceComponents",
    "InferenceRecommendationsJobs",
    "LabelingJobs",
    "NotebookInstances",
    "ProcessingJobs",
    "TrainingJobs",
    "TransformJobs",
)
# Those that choose the name themselves; groups of others are named by who configures them.
_SERVICES = ("codebuild", "lambda", "sagemaker")
_NAMERS = (
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogStream",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::SubscriptionFilter",
)


@template_rule(
    "MYT315",
    "A log group under almost the name that its service gives",
    "Write the name as the service does, letter by letter: /aws/sagemaker/Endpoints/NAME, "
    "/aws/sagemaker/TrainingJobs, /aws/lambda/NAME.",
)
def _names(template: Template) -> Hits:
    for resource in template.of(*_NAMERS):
        name = resource.properties.get("LogGroupName")
        if isinstance(name, str) and (meant := _meant(name)):
            yield resource.at("LogGroupName"), f"nothing writes to {name}: {meant} is the service's"
    for statement in all_statements(template):
        for name in _named(statement.resources):
            if meant := _meant(name):
                yield statement.at, f"nothing writes to {name}: {meant} is the service's"


def _named(resources: list[str]) -> Iterator[str]:
    for resource in resources:
        _, found, rest = resource.partition(":log-group:")
        if found:
            yield rest.partition(":")[0]


def _meant(name: str) -> str:
    """The prefix that a name comes close to without being it; empty where it is right, or far off."""
    parts = name.split("/")
    if len(parts) < 3 or parts[0] or parts[1].lower() != "aws" or "*" in parts[2]:
        return ""
    service = next((s for s in _SERVICES if _plain(s) == _plain(parts[2])), None)
    if service is None:
        return ""
    if [*parts[1:3]] != ["aws", service]:
        return f"/aws/{service}"
    kind = parts[3] if len(parts) > 3 else ""
    if service != "sagemaker" or "*" in kind:
        return ""
    close = next((k for k in _SAGEMAKER if _plain(k) == _plain(kind)), kind)
    return "" if close == kind else f"/aws/sagemaker/{close}"


def _plain(word: str) -> str:
    return re.sub(r"(jobs?|s)$", "", re.sub(r"[^a-z]", "", word.lower()))
