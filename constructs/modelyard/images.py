"""Container images and the permission to pull them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from constructs import Construct

from modelyard.arns import arn_in_stack, stack_of
from modelyard.assets import staging
from modelyard.build_context import BuildContext
from modelyard.permissions import allow

# SageMaker's instances are x86, whatever the deploying machine is.
PLATFORM = "linux/amd64"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerImage:
    """An image in ECR, by URI, with the ARN of the repository that holds it.

    Example:
        >>> image = ContainerImage.build(stack, BuildContext(folder=Path("training")), name="tabular")
    """

    uri: str
    repository_arn: str

    @classmethod
    def build(cls, scope: Construct, context: BuildContext, *, name: str) -> ContainerImage:
        """An image that the CDK CLI builds, for x86, and pushes before it deploys the stack of `scope`.

        Args:
            scope: Anything in the stack.
            context: What it is built from.
            name: What the CLI calls it meanwhile.

        Raises:
            ValueError: The context is not complete.
        """
        place = staging(stack_of(scope))
        digest = context.digest()
        folder = Path(place.folder) / f"asset.{digest}"
        context.copy_to(folder)
        location = place.synthesizer.add_docker_image_asset(
            source_hash=digest,
            directory_name=os.path.relpath(folder, place.manifest_folder),
            docker_file=context.dockerfile,
            platform=PLATFORM,
            display_name=name,
        )
        repository = arn_in_stack(scope, "ecr", f"repository/{location.repository_name}")
        return cls(uri=location.image_uri, repository_arn=repository)

    @classmethod
    def from_asset(cls, asset: ecr_assets.DockerImageAsset) -> ContainerImage:
        """The image of one of CDK's own Docker assets."""
        return cls(uri=asset.image_uri, repository_arn=asset.repository.repository_arn)

    def grant_pull(self, grantee: iam.IGrantable) -> None:
        """Allow pulling from this image's repository."""
        allow(
            grantee,
            actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            resources=[self.repository_arn],
        )
        allow(
            grantee,
            actions=["ecr:GetAuthorizationToken"],
            resources=["*"],
            reason="ecr:GetAuthorizationToken takes no resource; pulling is limited by repository.",
        )
