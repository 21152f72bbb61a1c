"""Container images and the permission to pull them."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam

from modelyard.permissions import allow


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerImage:
    """An image in ECR, by URI, with the repository that holds it.

    Example:
        >>> asset = DockerImageAsset(stack, "Image", directory="training", platform=Platform.LINUX_AMD64)
        >>> image = ContainerImage.from_asset(asset)
    """

    uri: str
    repository: ecr.IRepository

    @classmethod
    def from_asset(cls, asset: ecr_assets.DockerImageAsset) -> ContainerImage:
        """The image of a Docker asset, which the CDK CLI builds and pushes at deployment."""
        return cls(uri=asset.image_uri, repository=asset.repository)

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        """Allow pulling from this image's repository."""
        allow(
            grantee,
            actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            resources=[self.repository.repository_arn],
        )
        allow(
            grantee,
            actions=["ecr:GetAuthorizationToken"],
            resources=["*"],
            reason="ecr:GetAuthorizationToken takes no resource; pulling is limited by repository.",
        )
