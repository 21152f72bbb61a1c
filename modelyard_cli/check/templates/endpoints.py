"""Endpoints: updates, roll-backs, capture, names.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.definitions.instances import _NVME
from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, number, objects, opaque, part
from modelyard_cli.check.templates.serving import CONFIG, ENDPOINT, MODEL, production_variants


@template_rule(
    "MYT208",
    "Roll-back alarms that do not watch this endpoint",
    "Name alarms on AWS/SageMaker metrics of this endpoint and its variant, that exist in this assembly.",
)
def _alarms(template: Template) -> Hits:
    for endpoint in template.of(ENDPOINT):
        alarms = objects(part(endpoint.properties, "DeploymentConfig", "AutoRollbackConfiguration", "Alarms"))
        at = endpoint.at("DeploymentConfig.AutoRollbackConfiguration")
        for entry in alarms:
            name = entry.get("AlarmName")
            if isinstance(name, str) and name.startswith("arn:"):
                yield at, f"AlarmName is {name}: a name is wanted, which Ref gives"
                continue
            alarm = template.assembly.target(
                name, "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
            )
            if alarm is None:
                if isinstance(name, str) and not opaque(name):
                    yield at, f"there is no alarm {name}"
                continue
            dimensions = {d.get("Name"): d.get("Value") for d in objects(alarm.properties.get("Dimensions"))}
            watched = dimensions.get("EndpointName")
            if watched is not None and template.assembly.target(watched, ENDPOINT) is not endpoint:
                yield at, f"{alarm.id} watches the endpoint {watched}"
            elif watched is None and alarm.properties.get("Namespace") in ("AWS/Lambda", "AWS/SQS"):
                yield (
                    at,
                    f"{alarm.id} watches {alarm.properties['Namespace']}: it says nothing of this "
                    "endpoint's new fleet",
                )
        if "DeploymentConfig" in endpoint.properties and not alarms:
            yield at, Advice("there are no alarms: nothing rolls a bad update back")


@template_rule(
    "MYT209",
    "A traffic shift that its type does not describe",
    "CANARY with CanarySize, LINEAR with LinearStepSize, each of at most half the fleet, with a "
    "WaitIntervalInSeconds.",
)
def _shift(template: Template) -> Hits:
    for endpoint in template.of(ENDPOINT):
        deployment = endpoint.properties.get("DeploymentConfig") or {}
        blue = deployment.get("BlueGreenUpdatePolicy") or {}
        routing = blue.get("TrafficRoutingConfiguration") or {}
        at = endpoint.at("DeploymentConfig.BlueGreenUpdatePolicy")
        if blue and deployment.get("RollingUpdatePolicy"):
            yield at, "stands beside RollingUpdatePolicy"
        kind = routing.get("Type")
        for member, wanted in (("CanarySize", "CANARY"), ("LinearStepSize", "LINEAR")):
            size = routing.get(member)
            if (kind == wanted) != bool(size):
                yield at, f"Type {kind} {'without' if kind == wanted else 'with'} {member}"
            share = number(part(size, "Value"))
            if part(size, "Type") == "CAPACITY_PERCENT" and share is not None and not 1 <= share <= 50:
                yield at, f"{member} {share:g} % is not within 1 to 50"
        if kind in ("CANARY", "LINEAR") and not number(routing.get("WaitIntervalInSeconds")):
            yield at, f"Type {kind} without WaitIntervalInSeconds"
        total = (number(routing.get("WaitIntervalInSeconds")) or 0) + (
            number(blue.get("TerminationWaitInSeconds")) or 0
        )
        limit = number(blue.get("MaximumExecutionTimeoutInSeconds"))
        if limit is not None and limit < total:
            yield at, f"the waits take {total:g} s, MaximumExecutionTimeoutInSeconds is {limit:g}"


@template_rule(
    "MYT210",
    "An endpoint, configuration or variant that names what is not there",
    "Refer to the resource: a literal name also hides the order in which they are made.",
)
def _names(template: Template) -> Hits:
    for resource, path, name, kind in _named(template):
        if isinstance(name, str) and name.startswith("arn:"):
            yield resource.at(path), f"is the ARN {name}: a name is wanted, which Fn::GetAtt gives"
            continue
        if not isinstance(name, str) or opaque(name) or template.assembly.target(name, kind) is not None:
            continue
        if any(True for _ in template.assembly.of(kind)):
            yield resource.at(path), f"there is no {kind} {name}"


def _named(template: Template) -> Iterator[tuple[Resource, str, Any, str]]:
    for endpoint in template.of(ENDPOINT):
        yield endpoint, "EndpointConfigName", endpoint.properties.get("EndpointConfigName"), CONFIG
    for config in template.of(CONFIG):
        for path, variant in production_variants(config):
            if "ModelName" in variant:
                yield config, f"{path}.ModelName", variant["ModelName"], MODEL
    for component in template.of("AWS::SageMaker::InferenceComponent"):
        yield component, "EndpointName", component.properties.get("EndpointName"), ENDPOINT


@template_rule(
    "MYT211",
    "A data capture that captures nothing",
    "EnableCapture true, InitialSamplingPercentage above 0, Input and Output, a destination.",
)
def _capture(template: Template) -> Hits:
    for config in template.of(CONFIG):
        capture = config.properties.get("DataCaptureConfig")
        if not isinstance(capture, dict):
            continue
        if capture.get("EnableCapture") in (False, "false"):
            yield config.at("DataCaptureConfig.EnableCapture"), "is false: everything beside it has no effect"
        if number(capture.get("InitialSamplingPercentage")) == 0:
            yield config.at("DataCaptureConfig.InitialSamplingPercentage"), "is 0"
        if not capture.get("CaptureOptions"):
            yield config.at("DataCaptureConfig.CaptureOptions"), "is empty"


@template_rule(
    "MYT213",
    "Captured data, models or volumes without a key",
    "Give KmsKeyId: hosting then encrypts what it writes with a key whose use is logged.",
)
def _encryption(template: Template) -> Hits:
    for config in template.of(CONFIG):
        variants = [v for _, v in production_variants(config)]
        local = all(_NVME.match(str(v.get("InstanceType"))) or v.get("ServerlessConfig") for v in variants)
        if not config.properties.get("KmsKeyId") and not local:
            yield config.at("KmsKeyId"), Advice("is missing")
    for model in template.of(MODEL):
        if model.properties.get("EnableNetworkIsolation") not in (True, "true") and not model.properties.get(
            "VpcConfig"
        ):
            yield (
                model.at("EnableNetworkIsolation"),
                Advice("is not set, and there is no VpcConfig: the container reaches the internet"),
            )
    for notebook in template.of("AWS::SageMaker::NotebookInstance"):
        p = notebook.properties
        if not p.get("KmsKeyId"):
            yield notebook.at("KmsKeyId"), Advice("is missing")
        if p.get("DirectInternetAccess", "Enabled") != "Disabled":
            yield notebook.at("DirectInternetAccess"), Advice("is not Disabled")
        if p.get("RootAccess", "Enabled") != "Disabled":
            yield notebook.at("RootAccess"), Advice("is not Disabled")


@template_rule(
    "MYT215",
    "A monitoring job that outlives the time to the next one",
    "MaxRuntimeInSeconds of at most 3600 where monitoring runs every hour.",
)
def _monitoring(template: Template) -> Hits:
    for schedule in template.of("AWS::SageMaker::MonitoringSchedule"):
        config = part(schedule.properties, "MonitoringScheduleConfig")
        text = str(part(config, "ScheduleConfig", "ScheduleExpression"))
        limit = number(part(config, "MonitoringJobDefinition", "StoppingCondition", "MaxRuntimeInSeconds"))
        if limit is not None and limit > 3600 and text.startswith("cron(0 * "):
            yield schedule.at("MonitoringScheduleConfig"), f"runs every hour, each job up to {limit:g} s"


@template_rule(
    "MYT214",
    "A feature group whose keys are no features",
    "RecordIdentifierFeatureName and EventTimeFeatureName are among FeatureDefinitions; event "
    "times are String or Fractional.",
)
def _features(template: Template) -> Hits:
    for group in template.of("AWS::SageMaker::FeatureGroup"):
        features = {
            f.get("FeatureName"): f.get("FeatureType")
            for f in objects(group.properties.get("FeatureDefinitions"))
        }
        for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
            name = group.properties.get(member)
            if isinstance(name, str) and known(name) and name not in features:
                yield group.at(member), f"{name!r} is not among the features"
        if features.get(group.properties.get("EventTimeFeatureName")) == "Integral":
            yield group.at("EventTimeFeatureName"), "is of type Integral"
