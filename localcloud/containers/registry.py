"""From an image URI to an image, the way SageMaker pulls: from ECR, with the execution role's permissions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from localcloud.containers.image import Image, ImageError, ImageStore

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# An annotation of the pushed manifest names the folder image that it stands for.
DIGEST_ANNOTATION = "modelyard.image"
_ECR = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
Provider = Callable[[str, ImageStore], Image]
_providers: list[tuple[re.Pattern[str], Provider]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrReference:
    """The parts of an ECR image URI. Without tag and digest the tag is `latest`."""

    registry: str
    region: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def image_id(self) -> dict[str, str]:
        """As ECR's API names an image."""
        return {"imageDigest": self.digest} if self.digest else {"imageTag": self.tag or "latest"}


def parse_uri(uri: str) -> EcrReference | None:
    """Read an ECR image URI; None if it is of another registry."""
    found = _ECR.fullmatch(uri)
    return EcrReference(**found.groupdict()) if found else None


def provide(pattern: str, provider: Provider) -> None:
    """Serve the images whose URIs match from elsewhere: for AWS's public images, which nobody here built.

    Args:
        pattern: regular expression for the whole URI.
        provider: makes the image of a URI that matches, in the store; ImageError says why there is none.
    """
    _providers.append((re.compile(pattern), provider))


def provided(uri: str) -> bool:
    """Whether a provider serves the image."""
    return any(pattern.fullmatch(uri) for pattern, _ in _providers)


def pull(
    uri: str, store: ImageStore, ecr: Any, *, account: str, role_arn: str, puller: str = "SageMaker"
) -> Image:
    """The image of a URI.

    Makes the calls of a real pull, so that the role needs the permissions a real pull needs.

    Args:
        uri: as a job names it, with a tag or a digest.
        store: where images lie.
        ecr: boto3 client with the execution role's credentials.
        account: whose registry this cloud has.
        role_arn, puller: named in the error.

    Raises:
        ImageError: one line that says what to do.
    """
    for pattern, provider in _providers:
        if pattern.fullmatch(uri):
            return provider(uri, store)
    reference = parse_uri(uri)
    if reference is None or reference.registry != account:
        raise ImageError(
            f"the image {uri} is not in the local registry; build it with modelyard-docker and push it to "
            "ECR of the local account (cdk deploy does both for image assets)"
        )
    repository = reference.repository
    try:
        ecr.get_authorization_token()
        answer = ecr.batch_get_image(repositoryName=repository, imageIds=[reference.image_id])
        if not answer["images"]:
            raise ImageError(
                f"the image {uri} does not exist in the repository {repository}; build and push it "
                "(cdk deploy does both for image assets)"
            )
        manifest = json.loads(answer["images"][0]["imageManifest"])
        layers = [layer["digest"] for layer in manifest.get("layers", [])]
        if layers:
            ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=layers)
            for layer in layers:
                ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=layer)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise ImageError(
            f"Cannot find repository {repository} in registry ID {reference.registry}. Please check if your "
            f"ECR repository exists and role {role_arn} has proper pull permissions for {puller}: "
            "ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer"
            f" ({code}: {error.response['Error'].get('Message', '')})"
        ) from error
    digest = manifest.get("annotations", {}).get(DIGEST_ANNOTATION)
    if digest is None:
        raise ImageError(
            f"the image {uri} was not built by modelyard-docker; set CDK_DOCKER=modelyard-docker and deploy "
            "again"
        )
    return store.load(digest)
