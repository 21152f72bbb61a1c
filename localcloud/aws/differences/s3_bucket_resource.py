"""A bucket of a template gets all its properties, and one with objects in it is not deleted.

MiniStack's `AWS::S3::Bucket` ignores tags, encryption, lifecycle, logging and ownership, and deletes
the objects with the bucket. On AWS the first decide what may be done with the objects, and the last
fails the stack's deletion.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws import administrator
from localcloud.context import Cloud

Properties = Mapping[str, Any]
_TYPE = "AWS::S3::Bucket"


def apply(cloud: Cloud) -> None:
    """Wrap MiniStack's handlers of the type; the rest goes through S3's API."""
    from ministack.services.cloudformation import provisioners

    from localcloud.cloudformation import register

    handlers = provisioners._RESOURCE_HANDLERS[_TYPE]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def s3() -> Any:
        return cloud.client("s3", administrator.credentials(cloud.folder))

    def create_bucket(logical_id: str, properties: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        try:
            configure(s3(), name, {}, properties)
        except Exception:
            delete(name, properties)
            raise
        return name, attributes

    def update_bucket(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Any:
        name, attributes = update(physical_id, old, new, stack_name)
        configure(s3(), name, old if name == physical_id else {}, new)
        return name, attributes

    def delete_bucket(physical_id: str, properties: Properties) -> None:
        client = s3()
        try:
            found = client.list_object_versions(Bucket=physical_id, MaxKeys=1)
        except client.exceptions.NoSuchBucket:
            return
        if found.get("Versions") or found.get("DeleteMarkers"):
            raise ValueError(
                f"The bucket you tried to delete is not empty. You must delete all versions in the bucket. "
                f"({physical_id})"
            )
        delete(physical_id, properties)

    handlers.update(create=create_bucket, update=update_bucket, delete=delete_bucket)
    provisioners._STACK_TAG_PROPERTY[_TYPE] = ("Tags", "list")
    register.run_on_thread(_TYPE)


def configure(s3: Any, bucket: str, old: Properties, new: Properties) -> None:
    """Put what changed in a bucket's properties, and take away what is no longer there."""
    for name, (put, remove) in _CONFIGURATIONS.items():
        if new.get(name) == old.get(name):
            continue
        if new.get(name):
            put(s3, bucket, new[name])
        elif name in old:
            remove(s3, bucket)


def _put_tags(s3: Any, bucket: str, tags: list[dict[str, str]]) -> None:
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})


def _put_encryption(s3: Any, bucket: str, encryption: Properties) -> None:
    rules = [
        _renamed(rule, {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"})
        for rule in encryption["ServerSideEncryptionConfiguration"]
    ]
    for rule in rules:
        if "BucketKeyEnabled" in rule:
            rule["BucketKeyEnabled"] = _true(rule["BucketKeyEnabled"])
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _put_logging(s3: Any, bucket: str, logging: Properties) -> None:
    status = {
        "LoggingEnabled": {
            "TargetBucket": logging.get("DestinationBucketName", bucket),
            "TargetPrefix": logging.get("LogFilePrefix", ""),
        }
    }
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)


def _put_ownership(s3: Any, bucket: str, ownership: Properties) -> None:
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": ownership["Rules"]})


def _put_lifecycle(s3: Any, bucket: str, lifecycle: Properties) -> None:
    rules = [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    """A rule of a template as the API takes it."""
    result: dict[str, Any] = {"Status": rule["Status"], "Filter": _filter(rule)}
    if "Id" in rule:
        result["ID"] = rule["Id"]
    expiration = {
        name: value
        for name, value in (
            ("Days", _integer(rule.get("ExpirationInDays"))),
            ("Date", rule.get("ExpirationDate")),
            ("ExpiredObjectDeleteMarker", rule.get("ExpiredObjectDeleteMarker") and True),
        )
        if value is not None
    }
    if expiration:
        result["Expiration"] = expiration
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            result[name] = {member: int(value) for member, value in rule[name].items()}
    if "Transitions" in rule:
        names = {"TransitionInDays": "Days", "TransitionDate": "Date"}
        result["Transitions"] = [_numbers(_renamed(one, names)) for one in rule["Transitions"]]
    if "NoncurrentVersionTransitions" in rule:
        names = {"TransitionInDays": "NoncurrentDays"}
        moved = rule["NoncurrentVersionTransitions"]
        result["NoncurrentVersionTransitions"] = [_numbers(_renamed(one, names)) for one in moved]
    return result


def _filter(rule: Properties) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if rule.get("Prefix"):
        parts["Prefix"] = rule["Prefix"]
    for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if name in rule:
            parts[name] = int(rule[name])
    if rule.get("TagFilters"):
        parts["Tags"] = rule["TagFilters"]
    if len(parts) > 1 or len(parts.get("Tags", ())) > 1:
        return {"And": parts}
    if "Tags" in parts:
        return {"Tag": parts["Tags"][0]}
    return parts or {"Prefix": ""}


def _renamed(members: Properties, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in members.items()}


def _numbers(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: int(value) if name.endswith(("Days", "Versions")) else value for name, value in members.items()
    }


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


_Put = Callable[[Any, str, Any], None]
_Remove = Callable[[Any, str], object]
_CONFIGURATIONS: dict[str, tuple[_Put, _Remove]] = {
    "Tags": (_put_tags, lambda s3, bucket: s3.delete_bucket_tagging(Bucket=bucket)),
    "BucketEncryption": (_put_encryption, lambda s3, bucket: s3.delete_bucket_encryption(Bucket=bucket)),
    "LifecycleConfiguration": (_put_lifecycle, lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket)),
    "LoggingConfiguration": (
        _put_logging,
        lambda s3, bucket: s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={}),
    ),
    "OwnershipControls": (
        _put_ownership,
        lambda s3, bucket: s3.delete_bucket_ownership_controls(Bucket=bucket),
    ),
}
