"""The model registry, through the `sagemaker` client."""

from datetime import UTC
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .aws_errors import code, reason
from .canary import ROLLED_BACK
from .errors import DeployError, OutdatedError, UnreadableError
from .ports import Description, Package
from .record import Verdict
from .wishes import PERCENT, metadata_of

_GONE = ("ValidationException", "ResourceNotFound", "ResourceNotFoundException")
_LONGEST_DESCRIPTION = 1024


class SageMakerRegistry:
    """Model package groups, through the `sagemaker` client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def approved(self, group: str) -> list[Package]:
        pages = self._client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        try:
            packages = [
                Package(version=summary["ModelPackageVersion"], arn=summary["ModelPackageArn"])
                for page in pages
                for summary in page["ModelPackageSummaryList"]
                if summary["ModelPackageStatus"] == "Completed"
            ]
        except (ClientError, BotoCoreError) as error:
            raise UnreadableError(f"cannot list the packages of {group}: {reason(error)}") from error
        return sorted(packages, key=lambda package: package.version, reverse=True)

    def describe(self, package_arn: str) -> Description:
        described = self._described(package_arn)
        approved = described.get("ModelApprovalStatus") == "Approved"
        containers = described.get("InferenceSpecification", {}).get("Containers", [])
        if approved and len(containers) != 1:
            raise DeployError(
                f"{package_arn} has {len(containers)} containers; a multi-model endpoint serves one"
            )
        return Description(
            approved=approved,
            model_data_url=_url(containers[0]) if containers else "",
            metadata=described.get("CustomerMetadataProperties", {}),
            changed=_changed(described),
        )

    def conclude(self, package: Package, verdict: Verdict, *, changed: str) -> None:
        # There is no conditional update; this leaves milliseconds for a person to decide otherwise.
        described = self._described(package.arn)
        metadata = described.get("CustomerMetadataProperties", {})
        if described.get("ModelApprovalStatus") != "Approved" or PERCENT not in metadata:
            raise OutdatedError(f"{package.arn} is no canary any more")
        if _changed(described) != changed:
            # Asked for anew, perhaps: what was judged is the canary before.
            raise OutdatedError(f"{package.arn} was changed while it was judged")
        change: dict[str, Any] = {"CustomerMetadataProperties": metadata_of(verdict)}
        if verdict.outcome == ROLLED_BACK:
            change["ModelApprovalStatus"] = "Rejected"
            change["ApprovalDescription"] = f"Canary rolled back: {verdict.reason}"[:_LONGEST_DESCRIPTION]
        try:
            self._client.update_model_package(ModelPackageArn=package.arn, **change)
        except (ClientError, BotoCoreError) as error:
            if code(error) in _GONE:
                raise OutdatedError(f"{package.arn} is gone") from error
            raise DeployError(f"cannot conclude the canary {package.arn}: {reason(error)}") from error

    def _described(self, package_arn: str) -> dict[str, Any]:
        try:
            described: dict[str, Any] = self._client.describe_model_package(ModelPackageName=package_arn)
        except (ClientError, BotoCoreError) as error:
            if code(error) in _GONE:
                raise OutdatedError(f"{package_arn} is gone") from error
            raise UnreadableError(f"cannot read {package_arn}: {reason(error)}") from error
        return described


def _changed(described: dict[str, Any]) -> str:
    moment = described.get("LastModifiedTime")
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""


def _url(container: dict[str, Any]) -> str:
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
    return str(container.get("ModelDataUrl") or source or "")
