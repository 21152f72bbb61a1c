"""Model package groups: the registry's models, whose versions are model packages.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-model-group.html
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker import arns
from localcloud.sagemaker.errors import conflict, validation
from localcloud.sagemaker.pagination import arrange, page
from localcloud.sagemaker.service import Call, operation
from localcloud.sagemaker.store import AlreadyExists, now

KIND = "model-package-group"


@operation("CreateModelPackageGroup")
def create(call: Call) -> dict[str, Any]:
    """Create an empty group."""
    name = call.request["ModelPackageGroupName"]
    arn = call.arn(KIND, name)
    record = {
        **{member: value for member, value in call.request.items() if member != "Tags"},
        "ModelPackageGroupArn": arn,
        "ModelPackageGroupStatus": "Completed",
        "CreationTime": now(),
        "CreatedBy": {},
        "_LatestVersion": 0,
    }
    try:
        call.store.create(KIND, name, record)
    except AlreadyExists:
        raise validation(f"Model Package Group already exists: {arn}") from None
    return {"ModelPackageGroupArn": arn}


@operation("DescribeModelPackageGroup")
def describe(call: Call) -> dict[str, Any]:
    """Return a group, named by name or ARN."""
    return find_group(call, call.request["ModelPackageGroupName"])


@operation("ListModelPackageGroups")
def list_groups(call: Call) -> dict[str, Any]:
    """List groups, oldest first unless asked otherwise."""
    records = call.store.query(KIND)
    found = arrange(records, call.request, name="ModelPackageGroupName", default_order="Ascending")
    chosen, token = page(found, call.request, key=lambda record: record["ModelPackageGroupArn"])
    return {"ModelPackageGroupSummaryList": chosen, "NextToken": token}


@operation("DeleteModelPackageGroup")
def delete(call: Call) -> dict[str, Any]:
    """Delete a group that has no packages."""
    with call.store.transaction():
        group = find_group(call, call.request["ModelPackageGroupName"])
        name = group["ModelPackageGroupName"]
        if call.store.query("model-package", prefix=f"{name}/"):
            raise conflict(
                f"ModelPackageGroup {group['ModelPackageGroupArn']} cannot be deleted because it still "
                "contains model packages. Delete them first."
            )
        call.store.delete(KIND, name)
    return {}


def find_group(call: Call, reference: str) -> dict[str, Any]:
    """Return a group's record by name or ARN, or ValidationException in AWS's words."""
    name = arns.name_of(call.cloud, KIND, reference)
    record = call.store.find(KIND, name)
    if record is None:
        raise validation(f"ModelPackageGroup {call.arn(KIND, name)} does not exist.")
    return record
