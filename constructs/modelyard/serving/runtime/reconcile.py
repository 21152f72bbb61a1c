"""Makes one group serve the newest version that the registry approves.

Level-triggered: an event only says *look again*, so that duplicate, late and reordered events are harmless.
Why concurrent reconciles are, too: each reads the record first, the registry after it, and ends with a write
on condition that nobody wrote in between, even when nothing changed. A reconcile that looked at the
registry before some change therefore cannot write after the reconcile that looked after it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from modelyard.runtime.log import log

from .archive import read_file
from .errors import DeployError, OutdatedError, ReconcileError
from .golden import MANIFEST, MAX_MANIFEST_BYTES, compare, parse_manifest
from .ports import Package, Ports
from .record import Deployment, Failure, Record

ATTEMPTS = 10
_MAX_MESSAGE = 1000


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def reconcile(group: str, ports: Ports, *, max_unpacked: int, now: Callable[[], str] = utc_now) -> Record:
    """Brings the group in line and returns its new record.

    The newest approved version serves if it passes its checks. If it does not, the version that serves goes
    on, as long as it is approved itself; otherwise the newest approved one that passes takes its place, and
    without any the model is taken out.

    Raises ReconcileError, after recording the reason, when the newest approved version does not serve.
    """
    for _ in range(ATTEMPTS):
        record = ports.records.read(group)
        try:
            serving, error = _choose(record, ports, max_unpacked, now)
            new = _next(record, serving, error, now())
            ports.records.write(new, expected=record.generation)
        except OutdatedError:
            continue
        _report(record, new)
        if error:
            raise ReconcileError(f"{group} version {error.version or 'unknown'}: {error.message}")
        return new
    raise ReconcileError(f"{group}: the record or the registry changed during each of {ATTEMPTS} attempts")


def _choose(
    record: Record, ports: Ports, max_unpacked: int, now: Callable[[], str]
) -> tuple[Deployment | None, Failure | None]:
    serving = record.serving
    try:
        approved = ports.registry.approved(record.group)
    except DeployError as error:
        return serving, _failure(0, error, now())
    failure: Failure | None = None
    kept = next((package for package in approved if serving and package.arn == serving.package_arn), None)
    for package in approved:
        if failure and kept and package is not kept:
            continue
        try:
            if serving and package is kept and ports.artifacts.exists(serving.artifact):
                return serving, failure
            return _deploy(record.group, package, ports, max_unpacked, now), failure
        except DeployError as error:
            failure = failure or _failure(package.version, error, now())
            if package is kept:
                return serving, failure
    return None, failure


def _deploy(
    group: str, package: Package, ports: Ports, max_unpacked: int, now: Callable[[], str]
) -> Deployment:
    """Copies the model to its immutable name and lets the endpoint predict its golden rows from there."""
    with ports.artifacts.fetch(ports.registry.model_data_url(package)) as archive:
        manifest = read_file(archive.file, MANIFEST, max_unpacked=max_unpacked, max_size=MAX_MANIFEST_BYTES)
        golden = parse_manifest(manifest)
        artifact = f"{group}/{package.version}-{archive.sha256[:12]}.tar.gz"
        ports.artifacts.publish(archive, artifact)
        sha256 = archive.sha256
    compare(golden, ports.endpoint.predict(artifact, golden.instances))
    return Deployment(
        version=package.version, package_arn=package.arn, artifact=artifact, sha256=sha256, since=now()
    )


def _next(record: Record, serving: Deployment | None, error: Failure | None, now: str) -> Record:
    old = record.serving
    switched = old is not None and (serving is None or serving.package_arn != old.package_arn)
    return replace(
        record,
        generation=record.generation + 1,
        serving=serving,
        previous=old if switched else record.previous,
        error=error,
        updated=now,
    )


def _failure(version: int, error: DeployError, at: str) -> Failure:
    return Failure(version=version, message=str(error)[:_MAX_MESSAGE], at=at)


def _report(old: Record, new: Record) -> None:
    log(
        "reconciled",
        group=new.group,
        generation=new.generation,
        before=old.serving.version if old.serving else None,
        serving=new.serving.version if new.serving else None,
        error=new.error.message if new.error else None,
    )
