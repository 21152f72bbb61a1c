"""From an endpoint configuration to the variants that an endpoint will have. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_RETAINED = {"DesiredInstanceCount": "DesiredInstanceCount", "DesiredWeight": "DesiredWeight"}


def summaries(config: Mapping[str, Any], images: Mapping[str, str], moment: float) -> list[dict[str, Any]]:
    """`ProductionVariants` of DescribeEndpoint for a configuration.

    Args:
        config: record of the endpoint configuration.
        images: image URI by model name.
        moment: epoch seconds.
    """
    return [
        {
            "VariantName": variant["VariantName"],
            "DeployedImages": [
                {
                    "SpecifiedImage": images[variant["ModelName"]],
                    "ResolvedImage": images[variant["ModelName"]],
                    "ResolutionTime": moment,
                }
            ],
            "CurrentWeight": variant["InitialVariantWeight"],
            "DesiredWeight": variant["InitialVariantWeight"],
            "CurrentInstanceCount": variant["InitialInstanceCount"],
            "DesiredInstanceCount": variant["InitialInstanceCount"],
        }
        for variant in config["ProductionVariants"]
    ]


def retain(
    new: list[dict[str, Any]], old: Iterable[Mapping[str, Any]], excluded: Iterable[str]
) -> list[dict[str, Any]]:
    """Keep instance counts and weights of variants that stay (RetainAllVariantProperties).

    Args:
        new: from `summaries`.
        old: the endpoint's ProductionVariants.
        excluded: VariantPropertyTypes that are taken from the new configuration all the same.
    """
    kept = [member for kind, member in _RETAINED.items() if kind not in set(excluded)]
    before = {variant["VariantName"]: variant for variant in old}
    result = []
    for variant in new:
        same = before.get(variant["VariantName"], {})
        values = {member: same[member] for member in kept if member in same}
        values |= {member.replace("Desired", "Current"): value for member, value in values.items()}
        result.append({**variant, **values})
    return result
