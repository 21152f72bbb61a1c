"""What a data bucket can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aws_cdk import RemovalPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """What happens to stored data when its stack is deleted.

    Deletion needs two switches, so that no single edit can lose data.

    Args:
        on_delete: `retain` leaves bucket, table, key or group behind; `destroy` deletes all that is in it.
        data_may_be_deleted: The second switch, set by the environment and by nothing else.

    Raises:
        ValueError: `destroy` without the second switch.
    """

    on_delete: Literal["retain", "destroy"] = "retain"
    data_may_be_deleted: bool = False

    def __post_init__(self) -> None:
        if self.on_delete not in ("retain", "destroy"):
            raise ValueError(f"Retention.on_delete is {self.on_delete!r}; use 'retain' or 'destroy'")
        if self.on_delete == "destroy" and not self.data_may_be_deleted:
            raise ValueError(
                "Retention(on_delete='destroy') would delete data with the stack; "
                "also set data_may_be_deleted=True in the environment, or keep 'retain'"
            )

    @property
    def destroys(self) -> bool:
        """Whether both switches are on."""
        return self.on_delete == "destroy" and self.data_may_be_deleted

    @property
    def removal_policy(self) -> RemovalPolicy:
        """For what holds data. What a failed first deployment has created is not kept: names being fixed, it
        would block the next one."""
        return RemovalPolicy.DESTROY if self.destroys else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifecycle:
    """How long things are kept that nobody asks for any more, in days.

    Args:
        noncurrent_days: Overwritten or deleted object versions.
        incomplete_upload_days: Parts of multipart uploads that were never completed.
        access_log_days: Server access logs.
        expire_days: Prefix -> days after which what was written below it is deleted, for example
            `{"pipelines/": 60}`; nothing by default. Models and reports below it go too, those of registered
            versions included, and step caches must not outlive it.
        pruned_days: Prefix -> `noncurrent_days` below it, and `incomplete_upload_days` of one, for folders
            whose owner deletes what it no longer wants all the time: S3 keeps, and charges, each of them
            for that long.

    Raises:
        ValueError: A number below 1, or a prefix that is not a folder such as `pipelines/`.
    """

    noncurrent_days: int = 90
    incomplete_upload_days: int = 7
    access_log_days: int = 365
    expire_days: Mapping[str, int] = field(default_factory=dict)
    pruned_days: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        days = {
            name: getattr(self, name)
            for name in ("noncurrent_days", "incomplete_upload_days", "access_log_days")
        }
        for name in ("expire_days", "pruned_days"):
            for prefix, number in getattr(self, name).items():
                check_folder(prefix)
                days[f"{name}[{prefix!r}]"] = number
        for name, number in days.items():
            if number < 1:
                raise ValueError(f"Lifecycle.{name} is {number}; it counts days and must be at least 1")


def check_folder(prefix: str) -> None:
    """Raise ValueError for a prefix that is not a folder such as `raw/`."""
    if not prefix.endswith("/") or prefix.startswith("/") or "*" in prefix or len(prefix) < 2:
        raise ValueError(
            f"prefix {prefix!r} is not a folder: write it as 'raw/', without leading slash or wildcard"
        )
