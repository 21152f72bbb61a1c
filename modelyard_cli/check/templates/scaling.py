"""Application Auto Scaling and Auto Scaling groups.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, known, number, objects, opaque, part

TARGET, POLICY = "AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy"
_T = r"[^/:]+"
# dimension -> form of the resource id
_DIMENSIONS = {
    "sagemaker:variant:DesiredInstanceCount": rf"endpoint/{_T}/variant/{_T}",
    "sagemaker:variant:DesiredProvisionedConcurrency": rf"endpoint/{_T}/variant/{_T}",
    "sagemaker:inference-component:DesiredCopyCount": rf"inference-component/{_T}",
    "lambda:function:ProvisionedConcurrency": rf"function:{_T}:{_T}",
    "ecs:service:DesiredCount": rf"service/{_T}/{_T}",
    "dynamodb:table:ReadCapacityUnits": rf"table/{_T}",
    "dynamodb:table:WriteCapacityUnits": rf"table/{_T}",
    "dynamodb:index:ReadCapacityUnits": rf"table/{_T}/index/{_T}",
    "dynamodb:index:WriteCapacityUnits": rf"table/{_T}/index/{_T}",
    "ec2:spot-fleet-request:TargetCapacity": rf"spot-fleet-request/{_T}",
}
TRACKING, STEPS = "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration"


def segments(value: Any) -> list[str]:
    """Parts of a resource id: tokens hold the separators too."""
    tokens: list[str] = re.findall(r"\$\{[^}]*\}", value) if isinstance(value, str) else []
    marked = re.sub(r"\$\{[^}]*\}", "\0", value) if isinstance(value, str) else ""
    spare = iter(tokens)
    return [re.sub("\0", lambda _: next(spare), piece) for piece in re.split(r"[/:]", marked)]


def target_of(policy: Resource) -> Resource | None:
    """The scalable target that a policy is for."""
    properties = policy.properties
    found = policy.template.assembly.target(properties.get("ScalingTargetId"), TARGET)
    if found is not None or "ScalingTargetId" in properties:
        return found
    for target in policy.template.assembly.of(TARGET):
        keys = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        if all(target.properties.get(k) == properties.get(k) for k in keys):
            return target
    return None


@template_rule(
    "MYT101",
    "A scalable target for a variant, endpoint or other resource that does not exist",
    "Name the endpoint and the variant as its configuration does.",
)
def _target(template: Template) -> Hits:
    for target in template.of(TARGET):
        resource_id = target.properties.get("ResourceId")
        pieces = segments(resource_id)
        if opaque(resource_id):
            continue
        yield from _missing(target, pieces)


def _missing(target: Resource, pieces: list[str]) -> Hits:
    at, assembly = target.at("ResourceId"), target.template.assembly
    if pieces[0] == "endpoint" and len(pieces) == 4:
        endpoint = assembly.target(pieces[1], "AWS::SageMaker::Endpoint")
        if endpoint is None:
            if any(True for _ in assembly.of("AWS::SageMaker::Endpoint")):
                yield at, f"there is no endpoint {pieces[1]}"
            return
        names = variants(endpoint)
        if names and pieces[3] not in names and known(pieces[3]):
            yield at, f"endpoint {pieces[1]} has no variant {pieces[3]!r}, but: {', '.join(names)}"
    kinds = {
        "function": "AWS::Lambda::Function",
        "table": "AWS::DynamoDB::Table",
        "inference-component": "AWS::SageMaker::InferenceComponent",
    }
    kind = kinds.get(pieces[0])
    if (
        kind
        and len(pieces) > 1
        and assembly.target(pieces[1], kind) is None
        and any(True for _ in assembly.of(kind))
    ):
        yield at, f"there is no {pieces[0]} {pieces[1]}"
    if pieces[0] == "function" and len(pieces) == 3 and known(pieces[2]) and not pieces[2].isdigit():
        aliases = [a.properties.get("Name") for a in assembly.of("AWS::Lambda::Alias")]
        if aliases and pieces[2] not in aliases:
            yield at, f"there is no alias {pieces[2]!r}, but: {', '.join(map(str, aliases))}"
    if pieces[0] == "service" and len(pieces) == 3:
        services = list(assembly.of("AWS::ECS::Service"))
        if services and not any(
            pieces[2] == s.name or pieces[2].startswith("${" + f"{s.template.name}/{s.id}.") for s in services
        ):
            yield at, f"there is no service {pieces[2]}"


def variants(endpoint: Resource) -> list[str]:
    """Names of an endpoint's variants; empty where its configuration is not here."""
    config = endpoint.template.assembly.target(
        endpoint.properties.get("EndpointConfigName"), "AWS::SageMaker::EndpointConfig"
    )
    members = ("ProductionVariants", "ShadowProductionVariants")
    found = [v for m in members for v in objects(config.properties.get(m))] if config else []
    names = [str(v.get("VariantName", "AllTraffic")) for v in found]
    return names if all(known(n) for n in names) else []


@template_rule(
    "MYT102",
    "Namespace, dimension and resource id of a scalable target that do not fit",
    "SageMaker: sagemaker, sagemaker:variant:DesiredInstanceCount, endpoint/NAME/variant/NAME.",
)
def _dimension(template: Template) -> Hits:
    for resource in template.of(TARGET, POLICY):
        properties = resource.properties
        namespace, dimension = properties.get("ServiceNamespace"), properties.get("ScalableDimension")
        if isinstance(dimension, str) and isinstance(namespace, str) and known(dimension):
            if dimension.split(":")[0] != namespace:
                yield resource.at("ServiceNamespace"), f"is {namespace}, but the dimension is {dimension}"
            elif namespace in {d.split(":")[0] for d in _DIMENSIONS} and dimension not in _DIMENSIONS:
                yield resource.at("ScalableDimension"), f"there is no dimension {dimension}"
        form = _DIMENSIONS.get(str(dimension))
        resource_id = properties.get("ResourceId")
        if form and isinstance(resource_id, str) and not opaque(resource_id):
            flat = re.sub(r"\$\{[^}]*\}", "token", resource_id)
            if namespace == "sagemaker" and "arn:" in flat:
                yield (
                    resource.at("ResourceId"),
                    f"{resource_id} holds an ARN, which Ref gives: a name is wanted",
                )
            elif not re.fullmatch(form, flat) and "arn:" not in flat:
                yield resource.at("ResourceId"), f"{resource_id} is not of the form that {dimension} wants"


@template_rule(
    "MYT103",
    "A minimum above its maximum",
    "Put the minimum at or below the maximum, and what is wanted at first between them.",
)
def _bounds(template: Template) -> Hits:
    for resource, at, low, high, wanted in _ranges(template):
        if low is not None and high is not None and low > high:
            yield resource.at(at), f"the minimum {low:g} is above the maximum {high:g}"
        for name, value in wanted:
            if value is not None and (
                (low is not None and value < low) or (high is not None and value > high)
            ):
                yield (
                    resource.at(at),
                    f"{name} {value:g} is not within {low if low is not None else 0:g} to {high or 0:g}",
                )


def _ranges(
    template: Template,
) -> Iterator[tuple[Resource, str, float | None, float | None, list[tuple[str, float | None]]]]:
    for target in template.of(TARGET):
        p = target.properties
        yield target, "MinCapacity", number(p.get("MinCapacity")), number(p.get("MaxCapacity")), []
        for index, action in enumerate(objects(p.get("ScheduledActions"))):
            new = action.get("ScalableTargetAction", {})
            yield (
                target,
                f"ScheduledActions[{index}]",
                number(new.get("MinCapacity")),
                number(new.get("MaxCapacity")),
                [],
            )
    for group in template.of("AWS::AutoScaling::AutoScalingGroup"):
        p = group.properties
        wanted = [("DesiredCapacity", number(p.get("DesiredCapacity")))]
        yield group, "MinSize", number(p.get("MinSize")), number(p.get("MaxSize")), wanted
    for service in template.of("AWS::ECS::Service"):
        p = service.properties.get("DeploymentConfiguration") or {}
        yield (
            service,
            "DeploymentConfiguration",
            number(p.get("MinimumHealthyPercent")),
            number(p.get("MaximumPercent")),
            [],
        )
    for provider in template.of("AWS::ECS::CapacityProvider"):
        p = part(provider.properties, "AutoScalingGroupProvider", "ManagedScaling") or {}
        yield (
            provider,
            "AutoScalingGroupProvider",
            number(p.get("MinimumScalingStepSize")),
            number(p.get("MaximumScalingStepSize")),
            [],
        )
    for config in template.of("AWS::SageMaker::EndpointConfig"):
        for index, variant in enumerate(objects(config.properties.get("ProductionVariants"))):
            p = variant.get("ManagedInstanceScaling") or {}
            yield (
                config,
                f"ProductionVariants[{index}]",
                number(p.get("MinInstanceCount")),
                number(p.get("MaxInstanceCount")),
                [],
            )


@template_rule(
    "MYT104",
    "A variant that starts with a number of instances outside what scaling allows",
    "Start within the scalable target's minimum and maximum.",
)
def _initial(template: Template) -> Hits:
    for target in template.of(TARGET):
        pieces = segments(target.properties.get("ResourceId"))
        low, high = (number(target.properties.get(m)) for m in ("MinCapacity", "MaxCapacity"))
        endpoint = (
            template.assembly.target(pieces[1], "AWS::SageMaker::Endpoint") if len(pieces) == 4 else None
        )
        if endpoint is None:
            continue
        config = template.assembly.target(
            endpoint.properties.get("EndpointConfigName"), "AWS::SageMaker::EndpointConfig"
        )
        for index, variant in enumerate(
            objects(config.properties.get("ProductionVariants")) if config else ()
        ):
            count = number(variant.get("InitialInstanceCount"))
            if variant.get("VariantName") != pieces[3] or count is None or config is None:
                continue
            if (high is not None and count > high) or (low is not None and count < low):
                yield (
                    f"{config.id}/Properties.ProductionVariants[{index}].InitialInstanceCount",
                    f"is {count:g}, but {target.id} scales from {low or 0:g} to {high or 0:g}",
                )


@template_rule(
    "MYT105",
    "A variant that may scale to no instance at all",
    "A minimum of 1: only asynchronous endpoints and inference components may rest at 0.",
)
def _zero(template: Template) -> Hits:
    for target in template.of(TARGET):
        p = target.properties
        if (
            p.get("ScalableDimension") != "sagemaker:variant:DesiredInstanceCount"
            or number(p.get("MinCapacity")) != 0
        ):
            continue
        pieces = segments(p.get("ResourceId"))
        endpoint = template.assembly.target(pieces[1] if len(pieces) > 1 else "", "AWS::SageMaker::Endpoint")
        config = (
            template.assembly.target(
                endpoint.properties.get("EndpointConfigName"), "AWS::SageMaker::EndpointConfig"
            )
            if endpoint
            else None
        )
        # With inference components, instances come and go with their copies.
        managed = "ManagedInstanceScaling" in str(config.properties) if config else False
        if config is not None and not managed and "AsyncInferenceConfig" not in config.properties:
            yield target.at("MinCapacity"), "is 0 for a variant of a real-time endpoint"
    for target in template.of(TARGET):
        if number(target.properties.get("MaxCapacity")) == 0:
            yield target.at("MaxCapacity"), "is 0"


@template_rule(
    "MYT112",
    "A scaled endpoint that an update sets back to its first size",
    "Set RetainAllVariantProperties on the endpoint (aws/aws-cdk#23151).",
)
def _retain(template: Template) -> Hits:
    for endpoint in template.of("AWS::SageMaker::Endpoint"):
        scaled = [
            t
            for t in template.assembly.of(TARGET)
            if endpoint
            is template.assembly.target(
                [*segments(t.properties.get("ResourceId")), "", ""][1], "AWS::SageMaker::Endpoint"
            )
        ]
        if scaled and endpoint.properties.get("RetainAllVariantProperties") not in (True, "true"):
            message = f"is not set, while {scaled[0].id} changes the instance count"
            given = "RetainAllVariantProperties" in endpoint.properties
            yield endpoint.at("RetainAllVariantProperties"), message if given else Advice(message)
        excluded = {
            e.get("VariantPropertyType")
            for e in objects(endpoint.properties.get("ExcludeRetainedVariantProperties"))
        }
        if scaled and "DesiredInstanceCount" in excluded:
            yield endpoint.at("ExcludeRetainedVariantProperties"), "an update sets the instance count back"
