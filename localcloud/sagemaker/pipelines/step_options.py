"""Reading what a step says about caching, retries and property files."""

from typing import Any

from localcloud.sagemaker.pipelines import durations, retries
from localcloud.sagemaker.pipelines.model import PropertyFile
from localcloud.sagemaker.pipelines.problems import Problems
from localcloud.sagemaker.pipelines.retries import RetryPolicy

_RETRY_MEMBERS = ("ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin")


def parse_cache(where: str, item: dict[str, Any], problems: Problems) -> tuple[bool, float | None]:
    """Whether caching is on, and how old a result may be in seconds (None: any age)."""
    config = item.get("CacheConfig")
    if config is None:
        return False, None
    if not isinstance(config, dict) or not isinstance(config.get("Enabled"), bool):
        problems.add(where, "CacheConfig must be {'Enabled': true or false, 'ExpireAfter': duration}")
        return False, None
    problems.members(where, config, ("Enabled", "ExpireAfter"))
    enabled = config["Enabled"]
    expiry = config.get("ExpireAfter")
    if not enabled or expiry is None:
        return enabled, None
    try:
        return enabled, durations.seconds(str(expiry))
    except ValueError as error:
        problems.add(where, f"ExpireAfter {error}")
        return enabled, None


def parse_retries(where: str, item: dict[str, Any], problems: Problems) -> tuple[RetryPolicy, ...]:
    """The retry policies, without those that are wrong."""
    policies: list[RetryPolicy] = []
    for policy in problems.objects(where, item, "RetryPolicies"):
        problems.members(where, policy, _RETRY_MEMBERS)
        types = policy.get("ExceptionType")
        if not isinstance(types, list) or not types or not all(_is_exception_type(item) for item in types):
            known = ", ".join(sorted(retries.EXCEPTION_TYPES))
            problems.add(where, f"the ExceptionType of a retry policy is {types!r}, it lists some of {known}")
            continue
        numbers = {
            "IntervalSeconds": (policy.get("IntervalSeconds", 1), 0, retries.MAX_INTERVAL_SECONDS),
            "BackoffRate": (policy.get("BackoffRate", 2.0), 0, float("inf")),
            "MaxAttempts": (policy.get("MaxAttempts"), 1, retries.MAX_ATTEMPTS),
            "ExpireAfterMin": (policy.get("ExpireAfterMin"), 0, retries.MAX_EXPIRE_MINUTES),
        }
        bad = [
            f"the {member} of a retry policy is {value!r}, it must be a number from {low} to {high}"
            for member, (value, low, high) in numbers.items()
            if value is not None and not (_is_number(value) and low <= value <= high)
        ]
        if ("MaxAttempts" in policy) == ("ExpireAfterMin" in policy):
            bad.append("a retry policy has either MaxAttempts or ExpireAfterMin")
        for problem in bad:
            problems.add(where, problem)
        if not bad:
            policies.append(
                RetryPolicy(
                    exception_types=frozenset(types),
                    interval_seconds=numbers["IntervalSeconds"][0],
                    backoff_rate=numbers["BackoffRate"][0],
                    max_attempts=policy.get("MaxAttempts"),
                    expire_after_minutes=policy.get("ExpireAfterMin"),
                )
            )
    return tuple(policies)


def _is_exception_type(value: Any) -> bool:
    return isinstance(value, str) and value in retries.EXCEPTION_TYPES


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_property_files(where: str, item: dict[str, Any], problems: Problems) -> dict[str, PropertyFile]:
    """The property files by name."""
    files: dict[str, PropertyFile] = {}
    for entry in problems.objects(where, item, "PropertyFiles"):
        problems.members(where, entry, ("PropertyFileName", "OutputName", "FilePath"))
        found = [
            problems.text(where, entry, member) for member in ("PropertyFileName", "OutputName", "FilePath")
        ]
        name, output, path = found
        if name is None or output is None or path is None:
            continue
        if name in files:
            problems.add(where, f"has two property files named {name!r}")
        files[name] = PropertyFile(name=name, output=output, path=path)
    return files
