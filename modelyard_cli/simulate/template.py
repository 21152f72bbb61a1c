"""The scaling of an endpoint as a synthesized template has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.autoscaling.rules.tracking import Bounds, Policy
from modelyard_cli.errors import CliError
from modelyard_cli.simulate.plan import Timed, checked, make_bounds, timed

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_METRIC = "SageMakerVariantInvocationsPerInstance"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a template says; None for what it leaves open."""

    policy: Policy
    bounds: Bounds
    initial: int | None
    instance_type: str | None
    schedules: tuple[Timed, ...]


def read(path: Path, begin: float) -> Deployed:
    """Read the one scaled endpoint variant of a template, or of a folder of templates such as `cdk.out`.

    Args:
        begin: from when rates of schedules count, in epoch seconds.

    Raises:
        CliError: there is none or more than one, or values are only known after deployment.
    """
    files = sorted(path.glob("**/*.template.json")) if path.is_dir() else [path]
    found = [(file, *pair) for file in files for pair in _scaled(file, _resources(file))]
    if not found:
        raise CliError(f"{path}: no endpoint variant with target tracking on {_METRIC}")
    if len(found) > 1:
        names = ", ".join(f"{file.name}: {target}" for file, target, _ in found)
        raise CliError(f"{path}: several scaled variants ({names}); name one template")
    file, target, policy = found[0]
    resources = _resources(file)
    return _deployed(f"{file} {target}", resources[target]["Properties"], resources[policy], resources, begin)


def _resources(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CliError(f"{file}: cannot be read as a JSON template ({error})") from error
    resources = document.get("Resources") if isinstance(document, dict) else None
    if not isinstance(resources, dict):
        raise CliError(f"{file}: not a CloudFormation template: there are no Resources")
    return resources


def _scaled(file: Path, resources: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(target, policy) by logical id."""
    pairs = []
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        metric = properties.get("TargetTrackingScalingPolicyConfiguration", {})
        kind = metric.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if resource.get("Type") != "AWS::ApplicationAutoScaling::ScalingPolicy" or kind != _METRIC:
            continue
        target = properties.get("ScalingTargetId")
        target = str(target.get("Ref")) if isinstance(target, dict) else ""
        if resources.get(target, {}).get("Properties", {}).get("ScalableDimension") != _DIMENSION:
            raise CliError(f"{file} {name}: ScalingTargetId names no scalable variant of this template")
        pairs.append((target, name))
    return pairs


def _deployed(
    where: str,
    target: Mapping[str, Any],
    policy: Mapping[str, Any],
    resources: Mapping[str, Any],
    begin: float,
) -> Deployed:
    properties = policy["Properties"]
    tracking = properties["TargetTrackingScalingPolicyConfiguration"]
    name = properties.get("PolicyName")
    rules = Policy(
        name=name if isinstance(name, str) else "policy",
        target=_number(where, tracking, "TargetValue"),
        out_cooldown=_number(where, tracking, "ScaleOutCooldown", 300),
        in_cooldown=_number(where, tracking, "ScaleInCooldown", 300),
        disable_in=str(tracking.get("DisableScaleIn", False)).lower() == "true",
    )
    bounds = make_bounds(
        where, int(_number(where, target, "MinCapacity")), int(_number(where, target, "MaxCapacity"))
    )
    variant = _variant(resources)
    kind, initial = variant.get("InstanceType"), variant.get("InitialInstanceCount")
    return Deployed(
        policy=checked(where, rules),
        bounds=bounds,
        initial=initial if isinstance(initial, int) else None,
        instance_type=kind if isinstance(kind, str) else None,
        schedules=tuple(_timed(where, action, begin) for action in target.get("ScheduledActions", ())),
    )


def _variant(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The production variant, if the template has one alone."""
    variants = [
        variant
        for resource in resources.values()
        if resource.get("Type") == "AWS::SageMaker::EndpointConfig"
        for variant in resource.get("Properties", {}).get("ProductionVariants", ())
    ]
    return variants[0] if len(variants) == 1 and isinstance(variants[0], dict) else {}


def _number(where: str, properties: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = properties.get(name, default)
    try:
        return float(str(value))
    except (TypeError, ValueError):
        raise CliError(
            f"{where}: {name} is {json.dumps(value)}, which is not known before deployment"
        ) from None


def _timed(where: str, action: Mapping[str, Any], begin: float) -> Timed:
    if "StartTime" in action or "EndTime" in action:
        raise CliError(f"{where}: scheduled actions with StartTime or EndTime are not simulated")
    bounds = action.get("ScalableTargetAction", {})
    parts = [str(action.get("Schedule"))]
    for name, member in (("min", "MinCapacity"), ("max", "MaxCapacity")):
        if member in bounds:
            parts.append(f"{name}={bounds[member]}")
    if "Timezone" in action:
        parts.append(f"tz={action['Timezone']}")
    return timed(" ".join(parts), begin)
