"""Registers an image with ECR as `docker push` does: a layer, then the manifest that names it."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import Any

from botocore.exceptions import ClientError

from localcloud.containers.image import Image, ImageError
from localcloud.containers.registry import DIGEST_ANNOTATION, MANIFEST_TYPE, EcrReference, parse_uri

_CDK_ASSETS = re.compile(
    r"cdk-(?P<qualifier>\w+)-container-assets-(?P<account>\d{12})-(?P<region>[a-z0-9-]+)"
)
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def push(name: str, image: Image) -> str:
    """Push an image to the ECR that the AWS environment points at.

    Args:
        name: the full URI, with a tag.
        image: from the image store.

    Returns:
        The manifest's digest in ECR.

    Raises:
        ImageError: the name is not one of ECR.
    """
    reference = parse_uri(name)
    if reference is None or reference.tag is None:
        raise ImageError(f"{name} is not an ECR image URI with a tag; tag the image with one first")
    ecr = _client(reference)
    config = json.dumps({"image": image.digest, "labels": dict(image.labels)}, sort_keys=True).encode()
    digest = _upload(ecr, reference.repository, config)
    descriptor = {"digest": digest, "size": len(config)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": _CONFIG_TYPE, **descriptor},
        "layers": [{"mediaType": _LAYER_TYPE, **descriptor}],
        "annotations": {DIGEST_ANNOTATION: image.digest},
    }
    answer = ecr.put_image(
        repositoryName=reference.repository,
        imageManifest=json.dumps(manifest, sort_keys=True),
        imageManifestMediaType=MANIFEST_TYPE,
        imageTag=reference.tag,
    )
    return str(answer["image"]["imageId"]["imageDigest"])


def _upload(ecr: Any, repository: str, layer: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    present = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest])
    if any(found.get("layerAvailability") == "AVAILABLE" for found in present.get("layers", [])):
        return digest
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    ecr.upload_layer_part(
        repositoryName=repository,
        uploadId=upload,
        partFirstByte=0,
        partLastByte=len(layer) - 1,
        layerPartBlob=layer,
    )
    ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
    return digest


def _client(reference: EcrReference) -> Any:
    import boto3

    found = _CDK_ASSETS.fullmatch(reference.repository)
    if found is None:
        return boto3.client("ecr", region_name=reference.region)
    # CDK logs docker in with a token of its publishing role. Here a token names nobody: take the role.
    role = (
        f"arn:aws:iam::{found['account']}:role/"
        f"cdk-{found['qualifier']}-image-publishing-role-{found['account']}-{found['region']}"
    )
    sts = boto3.client("sts", region_name=reference.region)
    try:
        keys = sts.assume_role(RoleArn=role, RoleSessionName=f"push-{uuid.uuid4().hex[:12]}")["Credentials"]
    except ClientError:
        # As cdk-assets does: whoever may not assume the role may still have the permissions.
        return boto3.client("ecr", region_name=reference.region)
    return boto3.client(
        "ecr",
        region_name=reference.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
