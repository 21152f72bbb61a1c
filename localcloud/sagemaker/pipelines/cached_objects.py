"""The objects that a cached step left in S3: a result whose objects are gone is no result.

AWS does not say that it looks, and later steps would fail on what is missing. Looked at as the cloud itself:
the execution role need not be allowed to list its buckets.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.aws import buckets
from localcloud.context import Cloud

# What is remembered of one output.
_MOST = 1000

Objects = Mapping[str, list[str]]


def outputs_of(properties: Mapping[str, Any]) -> Iterator[str]:
    """The S3 URIs, of objects and of prefixes, that a job's Describe answer names as its results."""
    for output in properties.get("ProcessingOutputConfig", {}).get("Outputs", []):
        if "S3Output" in output:
            yield output["S3Output"]["S3Uri"]
    if "ModelArtifacts" in properties:
        yield properties["ModelArtifacts"]["S3ModelArtifacts"]
    if "TransformOutput" in properties:
        yield properties["TransformOutput"]["S3OutputPath"]
    best = properties.get("BestTrainingJob")
    if best:
        definitions = [
            properties.get("TrainingJobDefinition", {}),
            *properties.get("TrainingJobDefinitions", []),
        ]
        for definition in definitions:
            if definition and definition.get("DefinitionName") == best.get("TrainingJobDefinitionName"):
                root = definition["OutputDataConfig"]["S3OutputPath"].rstrip("/")
                yield f"{root}/{best['TrainingJobName']}/output"


def look(cloud: Cloud, properties: Mapping[str, Any]) -> dict[str, list[str]]:
    """The keys at each output of a finished job, at most 1000 of each."""
    return {uri: sorted(_keys(cloud, uri)) for uri in outputs_of(properties)}


def gone(cloud: Cloud, objects: Objects) -> list[str]:
    """The outputs that lack an object which they had."""
    return [uri for uri, keys in objects.items() if keys and set(keys) - _keys(cloud, uri)]


def _keys(cloud: Cloud, uri: str) -> set[str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    # A result is one archive or a folder, whose name may begin others' names.
    prefix = key if key.endswith(".tar.gz") or not key else key.rstrip("/") + "/"
    return buckets.keys(cloud, bucket, prefix, _MOST)
