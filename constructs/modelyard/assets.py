"""Files that go up with a deployment, into the bucket of CDK's bootstrap, under the hash of their content.

In place of `aws_s3_assets.Asset`, which copies and hashes a path once more, and makes a bucket construct for
each: files were a sixth of a synth, most of it for what CDK then loads to know about buckets in all regions.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import FileAssetPackaging, IStackSynthesizer, Stack, Stage
from constructs import Construct

from modelyard.arns import partition_of, stack_of


@dataclass(frozen=True, kw_only=True, slots=True)
class FileAsset:
    """A file in the bucket of CDK's bootstrap.

    Args:
        bucket_name: Name of that bucket, known at deployment.
        bucket_arn: Its ARN.
        object_key: `<sha256>.<suffix>`, with the bootstrap's prefix if it has one.
        url: `s3://bucket/key`.
        sha256: Hex digest of the content.
    """

    bucket_name: str
    bucket_arn: str
    object_key: str
    url: str
    sha256: str

    @property
    def object_arn(self) -> str:
        """ARN of the object."""
        return f"{self.bucket_arn}/{self.object_key}"


def add_file(
    scope: Construct, content: bytes, *, suffix: str, name: str, deploy_time: bool = False
) -> FileAsset:
    """Have the CDK CLI upload a file before it deploys the stack of `scope`.

    Args:
        scope: Anything in the stack.
        content: The file's bytes. Its name is their hash, so that equal content is one object.
        suffix: How its key ends, for example `.zip`.
        name: What the CLI calls it while it uploads.
        deploy_time: Whether it is needed only until the deployment has ended, as a function's code is.

    Example:
        >>> add_file(stack, path.read_bytes(), suffix=".json", name="refinance: definition")

    See https://docs.aws.amazon.com/cdk/v2/guide/assets.html
    """
    place = staging(stack_of(scope))
    digest = hashlib.sha256(content).hexdigest()
    # Each is nine round trips to Node, and functions of one domain share their code.
    if known := place.added.get((digest, suffix, deploy_time)):
        return known
    # As CDK names what it stages; the CLI's manifest says which of these files goes where.
    file = Path(place.folder) / f"asset.{digest}{suffix}"
    file.write_bytes(content)
    location = place.synthesizer.add_file_asset(
        source_hash=digest,
        file_name=os.path.relpath(file, place.manifest_folder),
        packaging=FileAssetPackaging.FILE,
        display_name=name,
        deploy_time=deploy_time,
    )
    added = place.added[digest, suffix, deploy_time] = FileAsset(
        bucket_name=location.bucket_name,
        bucket_arn=f"arn:{partition_of(scope)}:s3:::{location.bucket_name}",
        object_key=location.object_key,
        url=location.s3_object_url,
        sha256=digest,
    )
    return added


@dataclass(frozen=True, kw_only=True, slots=True)
class Staging:
    """Where a stack's files are staged, who writes them into its manifest, and which are in it."""

    folder: str
    manifest_folder: str
    synthesizer: IStackSynthesizer
    added: dict[tuple[str, str, bool], FileAsset] = field(default_factory=dict)


@functools.cache
def staging(stack: Stack) -> Staging:
    """Of the stack."""
    stage = Stage.of(stack)
    assert stage is not None
    folder, manifest_folder = _folders(stage)
    return Staging(folder=folder, manifest_folder=manifest_folder, synthesizer=stack.synthesizer)


@functools.cache
def _folders(stage: Stage) -> tuple[str, str]:
    return stage.asset_outdir, stage.outdir
