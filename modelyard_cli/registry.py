"""`modelyard approve` and `modelyard reject`: what the registry says decides what is deployed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelyard_cli.aws import client
from modelyard_cli.errors import CliError
from modelyard_cli.output import JsonOption, console, print_json, styled

Group = Annotated[str, typer.Argument(help="Model package group.")]
Version = Annotated[
    int | None, typer.Argument(help="Version; without it, the newest that is not so already.")
]
Reason = Annotated[str | None, typer.Option(help="Kept with the version as its approval description.")]


def approve(
    group: Group, version: Version = None, reason: Reason = None, as_json: JsonOption = False
) -> None:
    """Approve a version of a model: where the endpoint serves its group, the deployer puts it there."""
    _decide(group, version, "Approved", reason, as_json)


def reject(group: Group, version: Version = None, reason: Reason = None, as_json: JsonOption = False) -> None:
    """Reject a version of a model: the deployer takes it back."""
    _decide(group, version, "Rejected", reason, as_json)


def decide(
    sagemaker: Any, group: str, version: int | None, status: str, reason: str | None
) -> dict[str, Any]:
    """Set the approval status of one version.

    Raises:
        CliError: the group has no such version, or none that is not `status` already.
    """
    package = _find(sagemaker, group, version, status)
    request = {"ModelPackageArn": package["ModelPackageArn"], "ModelApprovalStatus": status}
    if reason:
        request["ApprovalDescription"] = reason
    sagemaker.update_model_package(**request)
    return {
        "group": group,
        "version": package["ModelPackageVersion"],
        "arn": package["ModelPackageArn"],
        "before": package["ModelApprovalStatus"],
        "status": status,
    }


def _find(sagemaker: Any, group: str, version: int | None, status: str) -> dict[str, Any]:
    versions: list[int] = []
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    for page in pages:
        for package in page["ModelPackageSummaryList"]:
            found: dict[str, Any] = package
            versions.append(found["ModelPackageVersion"])
            if found["ModelPackageVersion"] == version:
                return found
            if version is None and found["ModelApprovalStatus"] != status:
                return found
    known = f"it has {', '.join(map(str, sorted(versions)))}" if versions else "it has none yet"
    if version is None:
        raise CliError(f"group {group} has no version that is not {status} already ({known})")
    raise CliError(f"group {group} has no version {version} ({known})")


def _decide(group: str, version: int | None, status: str, reason: str | None, as_json: bool) -> None:
    outcome = decide(client("sagemaker"), group, version, status, reason)
    if as_json:
        print_json(outcome)
    else:
        console.print(f"{group} version {outcome['version']}: {styled(outcome['before'])} → {styled(status)}")
