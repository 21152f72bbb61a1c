"""Brings one version to where the endpoint loads it, and lets it prove there that it predicts as trained."""

import json
from collections.abc import Collection

from .archive import read_file
from .golden import MANIFEST, MAX_MANIFEST_BYTES, Golden, compare, parse_manifest
from .ports import Package, Ports
from .record import Deployment

# An image fits; three of them, one for each version, stay below what a DynamoDB item may hold (400 KB).
_LARGEST_PROBE = 100_000


def deploy(
    group: str,
    package: Package,
    url: str,
    ports: Ports,
    *,
    max_unpacked: int,
    taken: Collection[str],
    tried: set[str],
    generation: int,
    now: str,
) -> Deployment:
    """Copies the model to its immutable name and lets the endpoint predict its golden rows from there.

    Args:
        group: Name of the group.
        package: The version.
        url: Its model archive.
        ports: The outside.
        max_unpacked: Largest archive, unpacked, in bytes.
        taken: Names that must not be used, as something may still delete them.
        tried: Gets the name that was used, also where this fails later: it will be tried again.
        generation: Of the record that is being made; no other has it.
        now: The moment.

    Raises:
        DeployError: It cannot serve, or not now.
    """
    with ports.artifacts.fetch(url) as archive:
        manifest = read_file(archive.file, MANIFEST, max_unpacked=max_unpacked, max_size=MAX_MANIFEST_BYTES)
        golden = parse_manifest(manifest)
        artifact = f"{group}/{package.version}-{archive.sha256[:12]}.tar.gz"
        if artifact in taken:
            artifact = f"{group}/{package.version}-{archive.sha256[:12]}-{generation}.tar.gz"
        tried.add(artifact)
        ports.artifacts.publish(archive, artifact)
        sha256 = archive.sha256
    compare(golden, ports.endpoint.predict(artifact, golden.instances))
    return Deployment(
        version=package.version,
        package_arn=package.arn,
        artifact=artifact,
        sha256=sha256,
        since=now,
        probe=_probe(golden),
    )


def _probe(golden: Golden) -> str:
    row = json.dumps(golden.instances[0], separators=(",", ":"))
    return row if len(row) <= _LARGEST_PROBE else ""
