"""The form of a record in DynamoDB."""

from collections.abc import Mapping
from typing import Any

from .record import Canary, Deployment, Failure, Record, Verdict

Item = dict[str, Any]


def to_item(record: Record) -> Item:
    item: Item = {
        "group": {"S": record.group},
        "generation": _number(record.generation),
        "updated": {"S": record.updated},
    }
    if record.desired is not None:
        item["desired"] = _number(record.desired)
    for name, deployment in (("serving", record.serving), ("previous", record.previous)):
        if deployment:
            item[name] = {"M": _of_deployment(deployment)}
    if record.canary:
        members = _of_deployment(record.canary.deployment)
        item["canary"] = {"M": {**members, "percent": _number(record.canary.percent)}}
    if record.verdict:
        said = {name: {"S": getattr(record.verdict, name)} for name in ("outcome", "reason", "at")}
        item["verdict"] = {"M": {"version": _number(record.verdict.version), **said}}
    if record.error:
        said = {name: {"S": getattr(record.error, name)} for name in ("message", "at")}
        item["error"] = {"M": {"version": _number(record.error.version), **said}}
    for name, moments in (("unused", record.unused), ("deleting", record.deleting)):
        if moments:
            item[name] = {"M": {artifact: {"S": moment} for artifact, moment in moments.items()}}
    return item


def from_item(item: Mapping[str, Any]) -> Record:
    """Reverse of `to_item`; it also reads items that were written before canaries were."""
    canary, verdict, error = (item.get(name, {}).get("M") for name in ("canary", "verdict", "error"))
    return Record(
        group=item["group"]["S"],
        generation=int(item["generation"]["N"]),
        desired=int(item["desired"]["N"]) if "desired" in item else None,
        serving=_deployment(item.get("serving", {}).get("M")),
        previous=_deployment(item.get("previous", {}).get("M")),
        canary=Canary(deployment=_known(canary), percent=int(canary["percent"]["N"])) if canary else None,
        verdict=Verdict(
            version=int(verdict["version"]["N"]),
            outcome=verdict["outcome"]["S"],
            reason=verdict["reason"]["S"],
            at=verdict["at"]["S"],
        )
        if verdict
        else None,
        error=Failure(version=int(error["version"]["N"]), message=error["message"]["S"], at=error["at"]["S"])
        if error
        else None,
        unused=_moments(item.get("unused")),
        deleting=_moments(item.get("deleting")),
        updated=item["updated"]["S"],
    )


def _of_deployment(deployment: Deployment) -> Item:
    names = ("package_arn", "artifact", "sha256", "since")
    members: Item = {name: {"S": getattr(deployment, name)} for name in names}
    members["version"] = _number(deployment.version)
    if deployment.probe:
        members["probe"] = {"S": deployment.probe}
    return members


def _deployment(members: Mapping[str, Any] | None) -> Deployment | None:
    return _known(members) if members else None


def _known(members: Mapping[str, Any]) -> Deployment:
    return Deployment(
        version=int(members["version"]["N"]),
        package_arn=members["package_arn"]["S"],
        artifact=members["artifact"]["S"],
        sha256=members["sha256"]["S"],
        since=members["since"]["S"],
        probe=members["probe"]["S"] if "probe" in members else "",
    )


def _moments(attribute: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: value["S"] for name, value in attribute["M"].items()} if attribute else {}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
