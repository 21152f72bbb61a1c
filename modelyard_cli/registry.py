"""`modelyard approve` and `modelyard reject`: what the registry says decides what is deployed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from modelyard_cli.aws import client
from modelyard_cli.errors import CliError
from modelyard_cli.output import JsonOption, console, print_json, styled

# What the deployer reads, and what it adds when a canary has ended.
_PERCENT, _OUTCOME = "canary-percent", "canary-verdict"
_METADATA = (_PERCENT, _OUTCOME, "canary-reason", "canary-verdict-at")

Group = Annotated[str, typer.Argument(help="Model package group.")]
Version = Annotated[
    int | None, typer.Argument(help="Version; without it, the newest that is not so already.")
]
Reason = Annotated[str | None, typer.Option(help="Kept with the version as its approval description.")]
Canary = Annotated[
    int | None,
    typer.Option(
        min=1, max=99, metavar="PERCENT", help="Share of requests it gets until it has proved itself."
    ),
]


def approve(
    group: Group,
    version: Version = None,
    canary: Canary = None,
    reason: Reason = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a version of a model: where the endpoint serves its group, the deployer puts it there.

    With --canary 10 it answers a tenth of the requests, and is promoted, or rolled back and rejected, by its
    errors and latency against those of the version that serves.
    """
    _decide(group, version, "Approved", reason, canary, as_json)


def reject(group: Group, version: Version = None, reason: Reason = None, as_json: JsonOption = False) -> None:
    """Reject a version of a model: the deployer takes it back."""
    _decide(group, version, "Rejected", reason, None, as_json)


def decide(
    sagemaker: Any,
    group: str,
    version: int | None,
    status: str,
    reason: str | None,
    canary: int | None = None,
) -> dict[str, Any]:
    """Set the approval status of one version, and with it what share of the requests it gets at first.

    Args:
        sagemaker: A client.
        group: The model package group.
        version: The version; None for the newest that is not `status` already.
        status: Approved or Rejected.
        reason: Becomes the approval description.
        canary: Percent of the requests, 1 to 99; None for all.

    Returns:
        What was done; `alone` is true for a canary that there is no approved version to compare with, so that
        it serves in full.

    Raises:
        CliError: the group has no such version, or none that is not `status` already, or a newer version is
            approved in full, so that a canary would get nothing.
    """
    if canary is not None and not 1 <= canary <= 99:
        raise CliError(f"a canary gets 1 to 99 percent of the requests, not {canary}; approve it without")
    package = _find(sagemaker, group, version, status)
    arn = package["ModelPackageArn"]
    request: dict[str, Any] = {"ModelPackageArn": arn, "ModelApprovalStatus": status}
    if reason:
        request["ApprovalDescription"] = reason
    alone = False
    if status == "Approved":
        known = _metadata(sagemaker, arn)
        if canary is not None:
            alone = _stands_alone(sagemaker, group, package["ModelPackageVersion"])
            request["CustomerMetadataProperties"] = {_PERCENT: str(canary)}
        # What is left of a canary before would make one of this approval, or end it at once.
        kept = {_PERCENT} if canary is not None else set()
        if left := [name for name in _METADATA if name in known and name not in kept]:
            request["CustomerMetadataPropertiesToRemove"] = left
    sagemaker.update_model_package(**request)
    return {
        "group": group,
        "version": package["ModelPackageVersion"],
        "arn": arn,
        "before": package["ModelApprovalStatus"],
        "status": status,
        "canary": canary,
        "alone": alone,
    }


def is_canary(metadata: Mapping[str, str]) -> bool:
    """Whether a version with this metadata is approved for a share of the requests only."""
    return _PERCENT in metadata and metadata.get(_OUTCOME) != "promoted"


def in_full(sagemaker: Any, approved: Iterable[Mapping[str, Any]]) -> int | None:
    """The first of these versions that is approved for all requests."""
    for package in approved:
        if not is_canary(_metadata(sagemaker, package["ModelPackageArn"])):
            return int(package["ModelPackageVersion"])
    return None


def _stands_alone(sagemaker: Any, group: str, version: int) -> bool:
    others = [
        package
        for package in _packages(sagemaker, group)
        if package["ModelApprovalStatus"] == "Approved" and package["ModelPackageVersion"] != version
    ]
    newest = in_full(sagemaker, others)
    if newest is not None and newest > version:
        raise CliError(
            f"version {newest} of {group} is newer and approved for all requests, so version {version} would "
            f"get none as a canary. Reject version {newest} first: modelyard reject {group} {newest}"
        )
    return newest is None


def _metadata(sagemaker: Any, arn: str) -> dict[str, str]:
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    found: dict[str, str] = described.get("CustomerMetadataProperties", {})
    return found


def _packages(sagemaker: Any, group: str) -> Iterator[dict[str, Any]]:
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    for page in pages:
        yield from page["ModelPackageSummaryList"]


def _find(sagemaker: Any, group: str, version: int | None, status: str) -> dict[str, Any]:
    versions: list[int] = []
    for package in _packages(sagemaker, group):
        versions.append(package["ModelPackageVersion"])
        if package["ModelPackageVersion"] == version:
            return package
        if version is None and package["ModelApprovalStatus"] != status:
            return package
    known = f"it has {', '.join(map(str, sorted(versions)))}" if versions else "it has none yet"
    if version is None:
        raise CliError(f"group {group} has no version that is not {status} already ({known})")
    raise CliError(f"group {group} has no version {version} ({known})")


def _decide(
    group: str, version: int | None, status: str, reason: str | None, canary: int | None, as_json: bool
) -> None:
    outcome = decide(client("sagemaker"), group, version, status, reason, canary)
    if as_json:
        print_json(outcome)
        return
    share = f" for {canary} % of the requests" if canary else ""
    console.print(
        f"{group} version {outcome['version']}: {styled(outcome['before'])} → {styled(status)}{share}"
    )
    if outcome["alone"]:
        console.print(
            "[yellow]No other version is approved, so there is nothing to compare it with: "
            "it serves all requests.[/yellow]"
        )
