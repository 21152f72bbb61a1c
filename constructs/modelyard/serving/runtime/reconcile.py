"""Makes one group serve what the registry approves.

Level-triggered: an event only says *look again*, so that duplicate, late and reordered events are harmless.
Why concurrent reconciles are, too: each reads the record first, the registry after it, and ends with a write
on condition that nobody wrote in between, even when nothing changed. A reconcile that looked at the
registry before some change therefore cannot write after the reconcile that looked after it.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from modelyard.runtime.log import log

from .choice import Choice, Chooser
from .errors import DeployError, OutdatedError, ReconcileError
from .garbage import parsed, sweep
from .ports import Ports
from .record import Failure, Record
from .settings import Settings

ATTEMPTS = 10
# A schedule is not on the second.
_EARLY_SECONDS = 30


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def is_due(record: Record, settings: Settings, now: str) -> bool:
    """Whether the schedule has work: a canary is watched, the rest is looked at once an interval."""
    age = (parsed(now) - parsed(record.updated)).total_seconds()
    return record.canary is not None or age >= settings.interval_seconds - _EARLY_SECONDS


def reconcile(group: str, ports: Ports, settings: Settings, *, now: Callable[[], str] = utc_now) -> Record:
    """Brings the group in line and returns its new record.

    The newest approved version serves if it passes its checks. If it does not, the version that serves goes
    on, as long as it is approved itself; otherwise the newest approved one that passes takes its place, and
    without any the model is taken out. A version that is approved as a canary gets its share beside it.

    Raises ReconcileError, after recording the reason, when the group is not as the registry wants it.
    """
    for _ in range(ATTEMPTS):
        record = ports.records.read(group)
        chooser = Chooser(record, ports, settings, now())
        try:
            new = _next(record, chooser.choose(), chooser, settings, now())
            ports.records.write(new, expected=record.generation)
        except OutdatedError:
            continue
        _report(record, new)
        problem = _delete(new, chooser, ports)
        _keep_warm(new, chooser, ports)
        if new.error:
            raise ReconcileError(f"{group} version {new.error.version or 'unknown'}: {new.error.message}")
        if problem:
            raise ReconcileError(f"{group}: {problem}")
        return new
    raise ReconcileError(f"{group}: the record or the registry changed during each of {ATTEMPTS} attempts")


def _next(record: Record, choice: Choice, chooser: Chooser, settings: Settings, now: str) -> Record:
    old, serving = record.serving, choice.serving
    switched = old is not None and (serving is None or serving.package_arn != old.package_arn)
    new = Record(
        group=record.group,
        generation=record.generation + 1,
        desired=choice.desired,
        serving=serving,
        previous=old if switched else record.previous,
        canary=choice.canary,
        verdict=choice.verdict,
        error=choice.error,
        unused=record.unused,
        deleting=record.deleting,
        updated=now,
    )
    return _swept(new, chooser, settings, now)


def _swept(new: Record, chooser: Chooser, settings: Settings, now: str) -> Record:
    """With notes about what nobody needs; without its previous version where that is gone."""
    try:
        present = chooser.present()
    except DeployError as error:
        failure = Failure(version=0, message=str(error)[:1000], at=now)
        return replace(new, error=new.error or failure)
    if new.previous and new.previous.artifact not in present:
        new = replace(new, previous=None)
    notes = sweep(
        needed=new.artifacts | chooser.tried,
        present=present,
        unused=new.unused,
        deleting=new.deleting,
        now=now,
        grace_seconds=settings.grace_seconds,
    )
    return replace(new, unused=notes.unused, deleting=notes.deleting)


def _delete(new: Record, chooser: Chooser, ports: Ports) -> str | None:
    """Deletes what the record says nobody needs; returns what stood in the way."""
    if not new.deleting:
        return None
    try:
        for artifact in sorted(chooser.present() & new.deleting.keys()):
            ports.artifacts.delete(artifact)
            log("artifact deleted", group=new.group, artifact=artifact)
    except DeployError as error:
        log("artifact not deleted", group=new.group, error=str(error))
        return str(error)
    return None


def _keep_warm(new: Record, chooser: Chooser, ports: Ports) -> None:
    """Asks the previous version for a row, so that it is loaded should it have to serve again."""
    previous = new.previous
    if previous is None or not previous.probe or previous.package_arn not in chooser.approved:
        return
    try:
        ports.endpoint.warm(previous.artifact, [json.loads(previous.probe)])
    except DeployError as error:
        log("previous version not kept warm", group=new.group, version=previous.version, error=str(error))


def _report(old: Record, new: Record) -> None:
    log(
        "reconciled",
        group=new.group,
        generation=new.generation,
        before=old.serving.version if old.serving else None,
        serving=new.serving.version if new.serving else None,
        canary=new.canary.deployment.version if new.canary else None,
        error=new.error.message if new.error else None,
    )
