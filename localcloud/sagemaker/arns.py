"""ARNs of SageMaker's resources."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localcloud.context import Cloud
from localcloud.sagemaker.errors import validation

# SageMaker writes names in lower case into the ARNs of these kinds; policies are matched against that.
_LOWER_CASE = frozenset(
    {
        "endpoint",
        "endpoint-config",
        "hyper-parameter-tuning-job",
        "model",
        "pipeline",
        "processing-job",
        "training-job",
        "transform-job",
    }
)
_ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:([a-z0-9\-]+):(\d{12}):([a-z\-]+)/(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A parsed ARN; `name` is everything after the kind, in the ARN's case."""

    kind: str
    name: str


def arn(cloud: Cloud, kind: str, name: str) -> str:
    """Write an ARN.

    Args:
        cloud: whose account and region.
        kind: the resource type of the ARN, for example `model-package`.
        name: what follows it, for example `group/3` or `pipeline-name/execution/abc`.

    Example:
        >>> arn(cloud, "endpoint", "MyEndpoint")
        'arn:aws:sagemaker:us-east-1:000000000000:endpoint/myendpoint'
    """
    written = name.lower() if kind in _LOWER_CASE else name
    return f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:{kind}/{written}"


def parse(cloud: Cloud, text: str, kind: str | None = None) -> Resource:
    """Read an ARN of this account and region, and of `kind` if given. ValidationException for any other.

    A policy speaks of a resource under its own kind, so an ARN of another kind must not lead to it.
    """
    match = _ARN.fullmatch(text)
    if not match:
        raise validation(f"Invalid ARN: {text}")
    region, account, found, name = match.groups()
    if region != cloud.region:
        raise validation(f"ARN should be scoped to correct region: {cloud.region}")
    if account != cloud.account:
        raise validation(f"ARN should be scoped to correct account: {cloud.account}")
    if kind is not None and found != kind:
        raise validation(f"Invalid ARN: {text} is the ARN of a {found}, where that of a {kind} is expected")
    return Resource(kind=found, name=name)


def name_of(cloud: Cloud, kind: str, reference: str) -> str:
    """The name in a reference that may be a name or an ARN: `.../pipeline/x` and `x` both give `x`.

    Raises ValidationException for an ARN of another kind, account or region.
    """
    return parse(cloud, reference, kind).name if reference.startswith("arn:") else reference
