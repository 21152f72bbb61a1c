"""Deletes every version of a model package group."""

from typing import Any

from botocore.exceptions import ClientError

from modelyard.runtime.tags import EMPTY_ON_DELETE

# SageMaker answers ValidationException for both; only the words differ.
_GONE = "does not exist"
_TAG = dict(zip(("Key", "Value"), EMPTY_ON_DELETE, strict=True))


def may_be_emptied(sagemaker: Any, group_arn: str) -> bool:
    """Whether the group is there and bears the tag, as it does while its template says `destroy`."""
    try:
        pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=group_arn)
        return any(_TAG in page["Tags"] for page in pages)
    except ClientError as error:
        if not _is_gone(error):
            raise
        return False


def empty(sagemaker: Any, group: str) -> int:
    """Delete all versions; returns how many there were. A group or version that is gone needs no deletion.

    Raises botocore's ClientError for anything else.
    """
    deleted = 0
    try:
        for page in sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group):
            for package in page["ModelPackageSummaryList"]:
                deleted += _delete(sagemaker, package["ModelPackageArn"])
    except ClientError as error:
        if not _is_gone(error):
            raise
    return deleted


def _delete(sagemaker: Any, arn: str) -> int:
    try:
        sagemaker.delete_model_package(ModelPackageName=arn)
    except ClientError as error:
        if not _is_gone(error):
            raise
        return 0
    return 1


def _is_gone(error: ClientError) -> bool:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    return code == "ResourceNotFound" or (code == "ValidationException" and _GONE in message)
