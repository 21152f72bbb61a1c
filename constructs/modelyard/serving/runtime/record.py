"""What the deployer knows about a group: one item of the table, and its form in DynamoDB.

The item: ``group`` (key), ``generation`` (raised by every write, the condition of the next one),
``serving``, ``previous``, ``error`` (maps; absent for none), ``updated`` (UTC, ISO 8601).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A version as the endpoint serves it; `artifact` (group/version-sha.tar.gz) is its `TargetModel`."""

    version: int
    package_arn: str
    artifact: str
    sha256: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the newest approved version is not the one that serves. `version` is 0 if none could be read."""

    version: int
    message: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """State of one group. Generation 0 stands for an item that does not exist yet."""

    group: str
    generation: int = 0
    serving: Deployment | None = None
    previous: Deployment | None = None
    error: Failure | None = None
    updated: str = ""


Item = dict[str, Any]


def to_item(record: Record) -> Item:
    item: Item = {
        "group": {"S": record.group},
        "generation": {"N": str(record.generation)},
        "updated": {"S": record.updated},
    }
    for name, deployment in (("serving", record.serving), ("previous", record.previous)):
        if deployment:
            item[name] = {
                "M": {
                    "version": {"N": str(deployment.version)},
                    "package_arn": {"S": deployment.package_arn},
                    "artifact": {"S": deployment.artifact},
                    "sha256": {"S": deployment.sha256},
                    "since": {"S": deployment.since},
                }
            }
    if record.error:
        item["error"] = {
            "M": {
                "version": {"N": str(record.error.version)},
                "message": {"S": record.error.message},
                "at": {"S": record.error.at},
            }
        }
    return item


def from_item(item: Mapping[str, Any]) -> Record:
    """Reverse of `to_item`."""
    error = item.get("error", {}).get("M")
    return Record(
        group=item["group"]["S"],
        generation=int(item["generation"]["N"]),
        serving=_deployment(item.get("serving")),
        previous=_deployment(item.get("previous")),
        error=Failure(version=int(error["version"]["N"]), message=error["message"]["S"], at=error["at"]["S"])
        if error
        else None,
        updated=item["updated"]["S"],
    )


def _deployment(attribute: Mapping[str, Any] | None) -> Deployment | None:
    if attribute is None:
        return None
    members = attribute["M"]
    return Deployment(
        version=int(members["version"]["N"]),
        package_arn=members["package_arn"]["S"],
        artifact=members["artifact"]["S"],
        sha256=members["sha256"]["S"],
        since=members["since"]["S"],
    )
