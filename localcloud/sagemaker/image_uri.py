"""The check that Create operations make of an image's URI: its form, region and account, not its existence.

Whether the image exists, and whether the role may pull it, shows when a job or an endpoint starts.
"""

from __future__ import annotations

from localcloud.containers.public_images import catalog
from localcloud.containers.registry import parse_uri, provided
from localcloud.context import Cloud
from localcloud.sagemaker.errors import validation


def require_image(cloud: Cloud, member: str, uri: str) -> None:
    """Refuse an image that is not in ECR of this region, and a public one of AWS that does not run here.

    Args:
        cloud: whose registry.
        member: of the request, for the message.
        uri: of the image.

    Raises:
        ServiceError: ValidationException.
    """
    if provided(uri):
        if problem := catalog.problem(uri):
            raise validation(f"{member}: {problem}")
        return
    reference = parse_uri(uri)
    if reference is None:
        raise validation(
            f"{member}: {uri} is not the URI of an image in Amazon ECR, such as "
            f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/repository:tag; push it there "
            "(cdk deploy does for image assets)."
        )
    if reference.region != cloud.region:
        raise validation(
            f"{member}: the image {uri} must be in the region {cloud.region}, not in {reference.region}."
        )
