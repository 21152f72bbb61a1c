"""Retry policies of a step.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SERVICE_FAULT = "Step.SERVICE_FAULT"
THROTTLING = "Step.THROTTLING"
JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"
EXCEPTION_TYPES = frozenset({SERVICE_FAULT, THROTTLING, JOB_INTERNAL_ERROR, CAPACITY_ERROR, RESOURCE_LIMIT})

MAX_ATTEMPTS = 20
MAX_INTERVAL_SECONDS = 43_200
MAX_EXPIRE_MINUTES = 14_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """One policy of a definition. Exactly one of `max_attempts` and `expire_after_minutes` is set."""

    exception_types: frozenset[str]
    interval_seconds: float = 1.0
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after_minutes: float | None = None


# AWS retries faults and throttling of the services it calls without being asked; it does not say how often.
DEFAULT_POLICY = RetryPolicy(exception_types=frozenset({SERVICE_FAULT, THROTTLING}), max_attempts=5)


def retry_delay(
    policies: Sequence[RetryPolicy], exception_type: str | None, *, attempt: int, elapsed: float
) -> float | None:
    """How long to wait before the next attempt, or None when there is to be none.

    Args:
        policies: the step's own policies; the first that names the exception type counts.
        exception_type: why the attempt failed, one of `EXCEPTION_TYPES`; None for what no policy covers.
        attempt: how many attempts have failed, at least 1.
        elapsed: seconds since the first attempt began.

    Returns:
        Seconds: `interval_seconds * backoff_rate ** (attempt - 1)`, at most 12 hours.
    """
    policy = next((p for p in (*policies, DEFAULT_POLICY) if exception_type in p.exception_types), None)
    if policy is None:
        return None
    if policy.max_attempts is not None and attempt > policy.max_attempts:
        return None
    delay = min(policy.interval_seconds * policy.backoff_rate ** (attempt - 1), MAX_INTERVAL_SECONDS)
    if policy.expire_after_minutes is not None and elapsed + delay > policy.expire_after_minutes * 60:
        return None
    return delay
