"""Model artifacts on their way from S3 into a container."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.containers.archives import ArchiveError, unpack
from localcloud.sagemaker.jobs.failure import JobFailure
from localcloud.sagemaker.jobs.storage import Item, Storage, split_uri


class ArtifactError(Exception):
    """The artifact cannot be had; the message is for the owner of the model."""


def fetch(storage: Storage, container: Mapping[str, Any], folder: Path) -> None:
    """Put a container definition's model data into `folder` (`/opt/ml/model`).

    Args:
        storage: with the permissions of the model's execution role.
        container: a ContainerDefinition; without model data nothing is fetched.
        folder: exists.
    """
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        if url := container.get("ModelDataUrl"):
            fetch_archive(storage, url, folder)
    elif source.get("CompressionType") == "Gzip":
        fetch_archive(storage, source["S3Uri"], folder)
    else:
        try:
            storage.download(storage.select(source["S3Uri"]), folder)
        except JobFailure as failure:
            raise _refused(source["S3Uri"], failure) from failure


def fetch_archive(storage: Storage, url: str, folder: Path) -> None:
    """Download one archive and unpack it into `folder`.

    Raises:
        ArtifactError: missing, closed to the role, or not an archive that is safe to unpack.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        try:
            bucket, key = split_uri(url)
            archive = storage.fetch(Item(bucket, key, "archive", 0), Path(scratch))
        except JobFailure as failure:
            raise _refused(url, failure) from failure
        try:
            unpack(archive, folder)
        except ArchiveError as error:
            raise ArtifactError(f"The model data at {url} is refused: {error}") from error


def _refused(url: str, failure: JobFailure) -> ArtifactError:
    return ArtifactError(
        f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure '
        "that there is an object located at the URL and that the role passed to CreateModel has permissions "
        f"to download the object. ({failure.reason.removeprefix('ClientError: ')})"
    )
