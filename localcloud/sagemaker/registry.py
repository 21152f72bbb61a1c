"""Model packages: create, describe, update, list, delete.

Versions count up within a group and are never used again, also after a deletion.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-version.html
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker import arns
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.package_groups import KIND as GROUP
from localcloud.sagemaker.package_groups import find_group
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import AlreadyExists, NotFound, now

KIND = "model-package"
_NOT_STORED = frozenset({"Tags", "ClientToken", "ModelPackageGroupName", "ModelPackageName"})
_REPLACED = (
    "ApprovalDescription",
    "InferenceSpecification",
    "ModelApprovalStatus",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
    "SourceUri",
)


@operation("CreateModelPackage")
def create(call: Call) -> dict[str, Any]:
    """Register a model: the next version of a group, or a package of its own without versions."""
    request = call.request
    named, group = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if named and group:
        raise validation(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine "
            "which one to use."
        )
    if not named and not group:
        raise validation("Missing ARN.")
    if group and request.get("Tags"):
        raise validation("Versions of a model package have the tags of their group: give Tags to the group.")
    with call.store.transaction():
        earlier = _made_with_token(call)
        if earlier:
            return {"ModelPackageArn": earlier["ModelPackageArn"]}
        record = _versioned(call, group) if group else _unversioned(call, request["ModelPackageName"])
        if "ClientToken" in request:
            record["_ClientToken"] = request["ClientToken"]
        try:
            call.store.create(KIND, record["_Name"], record)
        except AlreadyExists:
            raise validation(f"ModelPackage {record['ModelPackageArn']} already exists.") from None
    return {"ModelPackageArn": record["ModelPackageArn"]}


@operation("DescribeModelPackage")
def describe(call: Call) -> dict[str, Any]:
    """Return a package, named by ARN, by `group/version`, or by its name when it has no versions."""
    return find_package(call, call.request["ModelPackageName"])


@operation("UpdateModelPackage")
def update(call: Call) -> dict[str, Any]:
    """Change a package's approval, metadata and what else may change after registration."""
    request = call.request
    package = find_package(call, request["ModelPackageArn"])
    if "ModelApprovalStatus" in request and "ModelPackageVersion" not in package:
        raise validation(
            f"ModelPackage {package['ModelPackageArn']} has no versions; only versions of a model package "
            "group have a ModelApprovalStatus."
        )

    def change(record: dict[str, Any]) -> None:
        record.update({name: request[name] for name in _REPLACED if name in request})
        properties = {
            **record.get("CustomerMetadataProperties", {}),
            **request.get("CustomerMetadataProperties", {}),
        }
        for name in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(name, None)
        if properties or "CustomerMetadataProperties" in record:
            record["CustomerMetadataProperties"] = properties
        more = request.get("AdditionalInferenceSpecificationsToAdd", [])
        if more:
            record.setdefault("AdditionalInferenceSpecifications", []).extend(more)
        record["LastModifiedTime"] = now()
        # Events name what an update set, also where it set what was there.
        record["_UpdatedFields"] = sorted(
            {name.removesuffix("ToAdd").removesuffix("ToRemove") for name in request} - {"ModelPackageArn"}
        )

    try:
        call.store.update(KIND, package["_Name"], change)
    except NotFound:
        raise _missing(package["ModelPackageArn"]) from None
    return {"ModelPackageArn": package["ModelPackageArn"]}


@operation("ListModelPackages")
def list_packages(call: Call) -> dict[str, Any]:
    """List a group's versions, or, without a group, the packages without versions (`ModelPackageType`)."""
    request = call.request
    prefix = ""
    kind = request.get("ModelPackageType", "Unversioned")
    if "ModelPackageGroupName" in request:
        group = find_group(call, request["ModelPackageGroupName"])
        prefix, kind = f"{group['ModelPackageGroupName']}/", "Versioned"
    records = call.store.query(KIND, prefix=prefix, where=lambda record: _listed(record, request, kind))
    found = arrange(records, request, name="_Name", default_order="Ascending")
    chosen, token = page(found, request, key=lambda record: record["ModelPackageArn"])
    return {"ModelPackageSummaryList": chosen, "NextToken": token}


@operation("DeleteModelPackage")
def delete(call: Call) -> dict[str, Any]:
    """Delete a package; its version number stays used."""
    package = find_package(call, call.request["ModelPackageName"])
    try:
        call.store.delete(KIND, package["_Name"])
    except NotFound:
        raise _missing(package["ModelPackageArn"]) from None
    return {}


def find_package(call: Call, reference: str) -> dict[str, Any]:
    """Return a package's record by ARN or name, or ValidationException in AWS's words."""
    name = arns.name_of(call.cloud, KIND, reference)
    record = call.store.find(KIND, name)
    if record is None:
        raise _missing(call.arn(KIND, name))
    return record


def _versioned(call: Call, reference: str) -> dict[str, Any]:
    group = find_group(call, reference)
    name = group["ModelPackageGroupName"]
    counted = call.store.update(GROUP, name, lambda record: record.update(_LatestVersion=_next(record)))
    version: int = counted["_LatestVersion"]
    return {
        **_common(call, f"{name}/{version}"),
        "ModelPackageGroupName": name,
        "ModelPackageVersion": version,
        "ModelApprovalStatus": call.request.get("ModelApprovalStatus", "PendingManualApproval"),
    }


def _unversioned(call: Call, name: str) -> dict[str, Any]:
    if "ModelApprovalStatus" in call.request:
        raise validation("ModelApprovalStatus is for versions: give ModelPackageGroupName.")
    return {**_common(call, name), "ModelPackageName": name}


def _common(call: Call, name: str) -> dict[str, Any]:
    created = now()
    return {
        "CertifyForMarketplace": False,
        **{member: value for member, value in call.request.items() if member not in _NOT_STORED},
        "ModelPackageArn": call.arn(KIND, name),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": created,
        "LastModifiedTime": created,
        "_Name": name,
    }


def _next(group: dict[str, Any]) -> int:
    latest: int = group["_LatestVersion"]
    return latest + 1


def _made_with_token(call: Call) -> dict[str, Any] | None:
    token = call.request.get("ClientToken")
    if token is None:
        return None
    made = call.store.query(KIND, where=lambda record: record.get("_ClientToken") == token)
    return made[0] if made else None


def _listed(record: dict[str, Any], request: dict[str, Any], kind: str) -> bool:
    if kind == "Versioned" and "ModelPackageVersion" not in record:
        return False
    if kind == "Unversioned" and "ModelPackageVersion" in record:
        return False
    status = request.get("ModelApprovalStatus")
    return status is None or record.get("ModelApprovalStatus") == status


def _missing(arn: str) -> ServiceError:
    return validation(f"ModelPackage {arn} does not exist.")
