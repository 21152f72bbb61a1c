"""CloudWatch metrics that AWS's services publish about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from localcloud.aws import identity
from localcloud.context import Cloud, Credentials


def may_put_metrics(cloud: Cloud, writer: Credentials, namespace: str) -> bool:
    """Whether a role, with which a service publishes what it measured of a job, may do so.

    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """
    conditions = {"cloudwatch:namespace": namespace}
    try:
        identity.require_of(cloud, writer, "cloudwatch:PutMetricData", "*", conditions)
    except identity.AccessDenied:
        return False
    return True


def put_metric(
    cloud: Cloud,
    namespace: str,
    name: str,
    value: float,
    unit: str,
    dimensions: Mapping[str, str],
    timestamp: datetime | None = None,
) -> None:
    """Publish one value.

    Args:
        namespace: for example `AWS/SageMaker`, which customers cannot write to.
        unit: of CloudWatch's list, for example `Count` or `Microseconds`.
        timestamp: now if None.
    """
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    when = timestamp or datetime.now(UTC)
    with request_scope(cloud.account, cloud.region):
        cloudwatch._store_datum(
            namespace, name, dict(dimensions), when.timestamp(), unit, float(value), None, None, None
        )


def put_values(
    cloud: Cloud,
    namespace: str,
    name: str,
    values: Mapping[float, int],
    unit: str,
    dimensions: Mapping[str, str],
    timestamp: float | None = None,
) -> None:
    """Publish many values at once: how often each occurred. Alarms look at them within their period.

    Args:
        values: count by value.
        timestamp: epoch seconds; now if None.
    """
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    moment = datetime.now(UTC).timestamp() if timestamp is None else timestamp
    with request_scope(cloud.account, cloud.region):
        numbers, counts = list(values), [float(count) for count in values.values()]
        cloudwatch._store_datum(namespace, name, dict(dimensions), moment, unit, None, numbers, counts, None)
