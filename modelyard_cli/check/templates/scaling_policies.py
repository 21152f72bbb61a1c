"""Scaling policies: metrics, targets, steps.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html
"""

from __future__ import annotations

from itertools import pairwise

from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.model import Resource, Template, listed, number, objects, opaque, part
from modelyard_cli.check.templates.scaling import POLICY, STEPS, TARGET, TRACKING, segments, target_of

_METRICS = {
    "sagemaker:variant:DesiredInstanceCount": {
        "SageMakerVariantInvocationsPerInstance",
        "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    },
    "sagemaker:variant:DesiredProvisionedConcurrency": {"SageMakerVariantProvisionedConcurrencyUtilization"},
    "sagemaker:inference-component:DesiredCopyCount": {
        "SageMakerInferenceComponentInvocationsPerCopy",
        "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
    },
    "lambda:function:ProvisionedConcurrency": {"LambdaProvisionedConcurrencyUtilization"},
    "ecs:service:DesiredCount": {
        "ECSServiceAverageCPUUtilization",
        "ECSServiceAverageMemoryUtilization",
        "ALBRequestCountPerTarget",
    },
    "dynamodb:table:ReadCapacityUnits": {"DynamoDBReadCapacityUtilization"},
    "dynamodb:table:WriteCapacityUnits": {"DynamoDBWriteCapacityUtilization"},
    "ec2:spot-fleet-request:TargetCapacity": {
        "EC2SpotFleetRequestAverageCPUUtilization",
        "EC2SpotFleetRequestAverageNetworkIn",
        "EC2SpotFleetRequestAverageNetworkOut",
        "ALBRequestCountPerTarget",
    },
}
_FRACTIONS = {"LambdaProvisionedConcurrencyUtilization", "SageMakerVariantProvisionedConcurrencyUtilization"}


@template_rule(
    "MYT106",
    "A scaling metric of another kind of resource",
    "Take a predefined metric of the target's dimension.",
)
def _metric(template: Template) -> Hits:
    for policy in template.of(POLICY):
        metric = part(policy.properties, TRACKING, "PredefinedMetricSpecification", "PredefinedMetricType")
        target = target_of(policy)
        dimension = (
            target.properties.get("ScalableDimension")
            if target
            else policy.properties.get("ScalableDimension")
        )
        wanted = _METRICS.get(str(dimension))
        if metric and wanted and metric not in wanted:
            yield (
                policy.at(TRACKING),
                f"{metric} is no metric of {dimension}, but: {', '.join(sorted(wanted))}",
            )
        label = part(policy.properties, TRACKING, "PredefinedMetricSpecification", "ResourceLabel")
        if metric == "ALBRequestCountPerTarget" and not label:
            yield policy.at(TRACKING), "ALBRequestCountPerTarget needs a ResourceLabel"


@template_rule(
    "MYT107",
    "A target value that can never be reached, or always is",
    "Utilization: percent from 1 to 100 (Lambda and serverless variants: 0.1 to 0.9); counts: above 0.",
)
def _value(template: Template) -> Hits:
    for policy in template.of(POLICY):
        config = policy.properties.get(TRACKING) or {}
        value = number(config.get("TargetValue"))
        metric = str(
            part(config, "PredefinedMetricSpecification", "PredefinedMetricType")
            or part(config, "CustomizedMetricSpecification", "MetricName")
            or ""
        )
        if value is None:
            continue
        limit = 0.9 if metric in _FRACTIONS else 100 if metric.endswith("Utilization") else None
        if value <= 0:
            yield policy.at(f"{TRACKING}.TargetValue"), f"is {value:g}"
        elif limit is not None and value > limit:
            yield (
                policy.at(f"{TRACKING}.TargetValue"),
                f"is {value:g}, but {metric} is at most {1 if limit < 1 else limit}",
            )


@template_rule(
    "MYT108",
    "A scaling policy without a target, or without its configuration",
    "Refer to the scalable target, and give the configuration that PolicyType names.",
)
def _policy(template: Template) -> Hits:
    for policy in template.of(POLICY):
        p = policy.properties
        if "ScalingTargetId" in p and target_of(policy) is None and not opaque(p["ScalingTargetId"]):
            yield policy.at("ScalingTargetId"), "is no scalable target of this assembly"
        elif (
            "ScalingTargetId" not in p
            and target_of(policy) is None
            and not opaque(p.get("ResourceId"))
            and any(True for _ in template.assembly.of(TARGET))
        ):
            yield policy.at("ResourceId"), "no scalable target has this resource id, namespace and dimension"
        wanted = {"TargetTrackingScaling": TRACKING, "StepScaling": STEPS}.get(str(p.get("PolicyType")))
        if wanted and wanted not in p:
            yield policy.at("PolicyType"), f"is {p['PolicyType']}, but {wanted} is missing"
        specs = [
            m
            for m in ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
            if m in (p.get(TRACKING) or {})
        ]
        if TRACKING in p and len(specs) != 1:
            yield policy.at(TRACKING), "needs one metric specification"


@template_rule(
    "MYT109",
    "Cooldowns that make capacity swing or stand still",
    "Some minutes: as long as a new instance takes to serve; never negative, at most an hour.",
)
def _cooldown(template: Template) -> Hits:
    for policy in template.of(POLICY):
        config = policy.properties.get(TRACKING) or {}
        for member, least in (("ScaleInCooldown", 30), ("ScaleOutCooldown", 0)):
            value = number(config.get(member))
            if value is not None and not least <= value <= 3600:
                yield policy.at(f"{TRACKING}.{member}"), f"is {value:g} s"
        target = target_of(policy)
        beside = [other for other in template.of(POLICY) if target is not None and target_of(other) is target]
        if config.get("DisableScaleIn") is True and not any(_shrinks(other) for other in beside):
            yield policy.at(f"{TRACKING}.DisableScaleIn"), "capacity only ever grows"


def _shrinks(policy: Resource) -> bool:
    """Whether it takes capacity away step by step, as one beside a tracking that only adds."""
    steps = policy.properties.get(STEPS) or {}
    changes = [number(step.get("ScalingAdjustment")) for step in objects(steps.get("StepAdjustments"))]
    exact = steps.get("AdjustmentType") == "ExactCapacity"
    return any(change is not None and (exact or change < 0) for change in changes)


@template_rule(
    "MYT113",
    "Scaling of what cannot be scaled, or not so far",
    "No burstable instances (ml.t2), no tables on demand; serverless variants up to their MaxConcurrency.",
)
def _burstable(template: Template) -> Hits:
    for target in template.of(TARGET):
        pieces = [*segments(target.properties.get("ResourceId")), "", "", ""]
        endpoint = template.assembly.target(pieces[1], "AWS::SageMaker::Endpoint")
        name = endpoint.properties.get("EndpointConfigName") if endpoint else None
        config = template.assembly.target(name, "AWS::SageMaker::EndpointConfig") if endpoint else None
        for variant in objects(config.properties.get("ProductionVariants")) if config else ():
            kind = str(variant.get("InstanceType"))
            if variant.get("VariantName") == pieces[3] and kind.startswith("ml.t2."):
                yield target.at("ResourceId"), f"the variant runs on {kind}, which cannot be scaled"
            most = number(part(variant, "ServerlessConfig", "MaxConcurrency"))
            wanted = number(target.properties.get("MaxCapacity"))
            if (
                most is not None
                and wanted is not None
                and variant.get("VariantName") == pieces[3]
                and wanted > most
            ):
                yield target.at("MaxCapacity"), f"is {wanted:g}, the variant's MaxConcurrency {most:g}"
        table = template.assembly.target(pieces[1], "AWS::DynamoDB::Table") if pieces[0] == "table" else None
        if table is not None and table.properties.get("BillingMode") == "PAY_PER_REQUEST":
            yield target.at("ResourceId"), f"{table.id} is billed on demand: there is no capacity to scale"


@template_rule(
    "MYT114",
    "A step policy that no alarm starts",
    "Name the policy in an alarm's AlarmActions: steps follow alarms only.",
)
def _unstarted(template: Template) -> Hits:
    for policy in template.of(POLICY):
        if policy.properties.get("PolicyType") != "StepScaling":
            continue
        started = any(
            template.assembly.target(action, POLICY) is policy
            for alarm in template.assembly.of("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
            for member in ("AlarmActions", "OKActions", "InsufficientDataActions")
            for action in listed(alarm.properties.get(member))
        )
        if not started and not any(
            policy.id in str(o) for o in (template.document.get("Outputs") or {}).values()
        ):
            yield policy.at(), "no alarm has it among its actions"


@template_rule(
    "MYT110",
    "Two policies that pull one target, or two targets for one resource",
    "One target for a dimension, one tracking policy for a metric.",
)
def _conflict(template: Template) -> Hits:
    seen: dict[str, str] = {}
    for policy in template.of(POLICY):
        target, config = target_of(policy), policy.properties.get(TRACKING) or {}
        metric = config.get("PredefinedMetricSpecification") or config.get("CustomizedMetricSpecification")
        key = f"{target.id if target else policy.properties.get('ResourceId')} {metric}"
        if metric and key in seen:
            yield policy.at(TRACKING), f"{seen[key]} tracks the same metric of the same target"
        seen.setdefault(key, policy.id)
    for target in template.of(TARGET):
        key = f"target {target.properties.get('ResourceId')} {target.properties.get('ScalableDimension')}"
        if key in seen:
            yield target.at("ResourceId"), f"{seen[key]} is for the same resource"
        seen.setdefault(key, target.id)
    for target in template.of(TARGET):
        policies = [p for p in template.assembly.of(POLICY) if target_of(p) is target]
        bounds = {str(target.properties.get(m)) for m in ("MinCapacity", "MaxCapacity")}
        if not policies and not target.properties.get("ScheduledActions") and len(bounds) > 1:
            yield target.at(), "no policy and no schedule ever scales it"


@template_rule(
    "MYT111",
    "Step adjustments with gaps, overlaps or the wrong sign",
    "Intervals that meet, the first from -infinity or 0, the last to infinity.",
)
def _steps(template: Template) -> Hits:
    for policy in template.of(POLICY, "AWS::AutoScaling::ScalingPolicy"):
        steps = objects((policy.properties.get(STEPS) or policy.properties).get("StepAdjustments"))
        bounds = sorted(
            (
                number(s.get("MetricIntervalLowerBound"))
                if "MetricIntervalLowerBound" in s
                else float("-inf"),
                number(s.get("MetricIntervalUpperBound"))
                if "MetricIntervalUpperBound" in s
                else float("inf"),
            )
            for s in steps
        )
        for (low, high), (following, _) in pairwise(bounds):
            if high != following:
                yield policy.at("StepAdjustments"), f"{low} to {high} is followed by one from {following}"
        for low, high in bounds:
            if low is not None and high is not None and low >= high:
                yield policy.at("StepAdjustments"), f"{low} to {high} holds nothing"
