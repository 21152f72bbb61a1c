"""What acts: looks at alarms and schedules, and changes capacities. Decisions are those of `rules`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from localcloud.autoscaling import activities, alarms, policies, scheduled, service_role, targets
from localcloud.autoscaling.rules import steps
from localcloud.autoscaling.rules.alarm import LOOK_BACK, State
from localcloud.autoscaling.rules.steps import StepPolicy
from localcloud.autoscaling.rules.tracking import (
    AT_MAXIMUM,
    AT_MINIMUM,
    Bounds,
    Change,
    Cooled,
    Memory,
    NotScaled,
    Policy,
    Signal,
    Suspended,
    decide,
    look,
    remember,
)
from localcloud.autoscaling.scalable import Capacity, Scalable
from localcloud.autoscaling.service import AutoScaling
from localcloud.aws.errors import RoleNotAssumable
from localcloud.cloudwatch.datapoints import Source
from localcloud.ticking import Ticking

_log = logging.getLogger(__name__)
_LONGEST_PAUSE, _SHORTEST_PAUSE = 5.0, 0.1
# How long datapoints may take to arrive after the end of their period, in seconds of the cloud's clock.
_GRACE, _LONGEST_GRACE = 9.0, 1.5


@dataclass(slots=True)
class _Running:
    """An activity on its way; `change` is None for one that a policy did not ask for."""

    activity: str
    wanted: int
    decided: float
    change: Change | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """An alarm that asks for a step policy, and how far its metric is from its threshold."""

    alarm: str
    difference: float


@dataclass(slots=True)
class _Watch:
    """What is known of one target beyond its record. Times are in seconds of the cloud's clock."""

    memory: Memory = field(default_factory=Memory)
    signals: dict[str, Signal] = field(default_factory=dict)
    periods: dict[str, int] = field(default_factory=dict)  # the last one that was looked at, by policy
    due: dict[str, tuple[float, float | None]] = field(default_factory=dict)  # since when, next, by action
    running: _Running | None = None
    not_scaled: NotScaled | None = None
    steps: dict[str, Memory] = field(default_factory=dict)  # of step policies


class Scaler(Ticking):
    """Scales the targets of one cloud.

    Args:
        source: of datapoints.
        now: epoch seconds; tests drive it.

    Cooldowns and alarms begin anew with each start of the cloud.
    """

    def __init__(self, service: AutoScaling, source: Source, now: Callable[[], float] = time.time) -> None:
        super().__init__("application-autoscaling")
        self._service, self._source, self._now = service, source, now
        self._factor = service.cloud.clock
        self._started = now()
        self._watches: dict[str, _Watch] = {}
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()
        activities.fail_interrupted(service)

    def pause(self) -> float:
        """Often enough for periods that pass faster."""
        return max(_SHORTEST_PAUSE, min(_LONGEST_PAUSE, 5 / self._factor))

    def ask(self, policy_arn: str, alarm: Mapping[str, Any], value: float | None) -> None:
        """An alarm is in a state for which it names a step policy: act on it with the next tick.

        While a change is on its way the alarm asks in vain; it asks again every minute.

        Args:
            value: newest datapoint of its metric, None if there is none.
        """
        difference = 0.0 if value is None else value - float(alarm["Threshold"])
        with self._lock:
            self._asked[policy_arn] = _Asked(alarm["AlarmName"], difference)

    def tick(self) -> None:
        """Do what is due now."""
        known = self._service.store.query(targets.KIND)
        with self._lock:
            asked, self._asked = self._asked, {}
        for target in known:
            try:
                self._target(target, asked, self._now())
            except Exception:
                # One target's trouble must not keep the others from being scaled.
                if not self._closed.is_set():
                    _log.exception("scaling %s", target["ResourceId"])
        names = {targets.name_of(target) for target in known}
        self._watches = {name: watch for name, watch in self._watches.items() if name in names}

    def _target(self, target: dict[str, Any], asked: Mapping[str, _Asked], now: float) -> None:
        watch = self._watches.setdefault(targets.name_of(target), _Watch())
        target = self._scheduled(target, watch, now)
        scalable = self._service.scalables.get(target["ServiceNamespace"])
        if scalable is None:
            return
        capacity = scalable.capacity(target["ResourceId"])
        if capacity is None:
            targets.remove(self._service, target)
            return
        if watch.running is not None and capacity.settled:
            self._complete(watch, watch.running, capacity, now)
        fresh = self._look(target, watch, now)
        if watch.running is not None or not capacity.settled:
            return
        held = target.get("_hold") and self._hold(target, scalable, watch, capacity, now)
        if fresh and not held:
            self._decide(target, scalable, watch, capacity, now)
        if asked and not held and watch.running is None:
            self._step(target, asked, scalable, watch, capacity, now)

    def _scheduled(self, target: dict[str, Any], watch: _Watch, now: float) -> dict[str, Any]:
        for action in scheduled.of_target(self._service, target):
            name, since = action["ScheduledActionName"], action["_since"]
            known_since, due = watch.due.get(name, (None, None))
            if known_since != since:
                due = scheduled.next_time(action, max(since, self._started))
            if due is not None and due <= now:
                # What was missed while the machine slept happens once.
                due = scheduled.next_time(action, now)
                if not target["SuspendedState"]["ScheduledScalingSuspended"]:
                    target = self._rebound(target, action)
            watch.due[name] = (since, due)
        return target

    def _rebound(self, target: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
        bounds: dict[str, int] = action["ScalableTargetAction"]
        words = {"MinCapacity": "min capacity", "MaxCapacity": "max capacity"}
        text = " and ".join(f"{words[member]} to {bounds[member]}" for member in words if member in bounds)
        cause = f"scheduled action name {action['ScheduledActionName']} was triggered"
        activity = activities.begin(self._service, target, f"Setting {text}", cause)
        merged = {**target, **bounds}
        if merged["MinCapacity"] > merged["MaxCapacity"]:
            reason = f"minimum {merged['MinCapacity']} is above maximum {merged['MaxCapacity']}"
            activities.end(self._service, activity, "Failed", f"Failed to set {text}. Reason: {reason}.")
            return target
        activities.end(self._service, activity, "Successful", f"Successfully set {text}")
        return self._service.store.update(
            targets.KIND, targets.name_of(target), lambda record: record.update(bounds, _hold=True)
        )

    def _look(self, target: dict[str, Any], watch: _Watch, now: float) -> bool:
        """Evaluate alarms whose period has ended; whether there were any."""
        fresh = False
        records = policies.of_target(self._service, target)
        for record in records:
            policy = policies.tracking(record)
            if policy is None:
                continue
            name, seconds = policy.name, policy.period / self._factor
            period = int((now - min(_LONGEST_GRACE, _GRACE / self._factor)) // seconds)
            if period <= watch.periods.setdefault(name, period):
                continue
            watch.periods[name] = period
            self._evaluate(record, policy, watch, period * seconds, seconds)
            fresh = True
        names = {record["PolicyName"] for record in records}
        watch.signals = {name: signal for name, signal in watch.signals.items() if name in names}
        return fresh

    def _evaluate(
        self, record: dict[str, Any], policy: Policy, watch: _Watch, end: float, seconds: float
    ) -> None:
        before = watch.signals.get(policy.name)
        new = before is None or before.policy != policy
        if before is None or new:
            before = Signal(policy=policy)
        longest = policy.low.periods if policy.low else policy.high.periods
        points = alarms.points(record, self._source, end, seconds, longest + LOOK_BACK)
        signal = watch.signals[policy.name] = look(before, points)
        for side, alarm, old, state in (
            ("AlarmHigh", policy.high, before.high, signal.high),
            ("AlarmLow", policy.low, before.low, signal.low),
        ):
            if alarm is not None and state is not None and (new or state is not old):
                name = alarms.name_of(record, side)
                alarms.set_state(self._service.cloud, name, alarm, state, points)

    def _hold(
        self, target: dict[str, Any], scalable: Scalable, watch: _Watch, capacity: Capacity, now: float
    ) -> bool:
        """Bring the capacity within bounds that have changed; whether it was outside."""
        bounds = _bounds(target)
        wanted = bounds.hold(capacity.current)
        self._service.store.update(
            targets.KIND, targets.name_of(target), lambda record: record.pop("_hold", None)
        )
        if wanted == capacity.current:
            return False
        side = "minimum" if wanted > capacity.current else "maximum"
        running = _Running("", wanted, now * self._factor, None)
        self._act(target, scalable, watch, running, f"{side} capacity was set to {wanted}")
        return True

    def _decide(
        self, target: dict[str, Any], scalable: Scalable, watch: _Watch, capacity: Capacity, now: float
    ) -> None:
        bounds, suspended, moment = _bounds(target), _suspended(target), now * self._factor
        signals = list(watch.signals.values())
        found = decide(signals, capacity.current, bounds, suspended, watch.memory, moment)
        if isinstance(found, NotScaled) and found != watch.not_scaled:
            self._note(target, found, capacity, bounds)
        watch.not_scaled = found if isinstance(found, NotScaled) else None
        if isinstance(found, Change):
            running = _Running("", found.capacity, moment, found)
            self._act(target, scalable, watch, running, self._cause(target, found.policy, out=found.out))

    def _step(
        self,
        target: dict[str, Any],
        asked: Mapping[str, _Asked],
        scalable: Scalable,
        watch: _Watch,
        capacity: Capacity,
        now: float,
    ) -> None:
        bounds, suspended, moment = _bounds(target), _suspended(target), now * self._factor
        found: list[tuple[Change, str]] = []
        for record in policies.of_target(self._service, target):
            policy, ask = policies.stepping(record), asked.get(record["PolicyARN"])
            if policy is None or ask is None:
                continue
            memory = watch.steps.get(policy.name, Memory())
            wanted = steps.decide(policy, ask.difference, capacity.current, bounds, suspended, memory, moment)
            if isinstance(wanted, Change):
                cause = f"monitor alarm {ask.alarm} in state {State.ALARM} triggered policy {policy.name}"
                found.append((wanted, cause))
        if found:
            # Several at once: the one with the largest capacity.
            change, cause = max(found, key=lambda pair: pair[0].capacity)
            self._act(target, scalable, watch, _Running("", change.capacity, moment, change), cause)

    def _act(
        self, target: dict[str, Any], scalable: Scalable, watch: _Watch, running: _Running, cause: str
    ) -> None:
        what, wanted = activities.what(target), running.wanted
        namespace = target["ServiceNamespace"]
        running.activity = activities.begin(self._service, target, f"Setting {what} to {wanted}.", cause)
        try:
            role = service_role.assume(self._service.cloud, namespace, target["ScalableTargetARN"])
            scalable.change(target["ResourceId"], wanted, role)
        except (ClientError, RoleNotAssumable) as error:
            message = f"Failed to set {what} to {wanted}. Reason: {error}"
            activities.end(self._service, running.activity, "Failed", message)
            return
        watch.running = running

    def _complete(self, watch: _Watch, running: _Running, capacity: Capacity, now: float) -> None:
        watch.running = None
        target = self._service.store.get(activities.KIND, running.activity)
        what, namespace = activities.what(target), target["ServiceNamespace"]
        if capacity.current == running.wanted:
            message = (
                f"Successfully set {what} to {running.wanted}. Change successfully fulfilled by {namespace}."
            )
            activities.end(self._service, running.activity, "Successful", message)
            if running.change is not None:
                moment = now * self._factor
                self._remember(watch, running.change, running.decided, moment)
        else:
            message = (
                f"Failed to set {what} to {running.wanted}. Reason: {capacity.failure or 'it was changed'}"
            )
            activities.end(self._service, running.activity, "Failed", message)

    def _remember(self, watch: _Watch, change: Change, decided: float, moment: float) -> None:
        if isinstance(change.policy, StepPolicy):
            name = change.policy.name
            watch.steps[name] = remember(watch.steps.get(name, Memory()), change, decided, moment)
        else:
            watch.memory = remember(watch.memory, change, decided, moment)

    def _note(self, target: dict[str, Any], found: NotScaled, capacity: Capacity, bounds: Bounds) -> None:
        reason: dict[str, Any] = {"Code": found.code, "CurrentCapacity": capacity.current}
        if found.code == AT_MAXIMUM:
            reason["MaxCapacity"] = bounds.maximum
        elif found.code == AT_MINIMUM:
            reason["MinCapacity"] = bounds.minimum
        cause = self._cause(target, found.policy, out=found.out)
        activities.note_not_scaled(self._service, target, cause, reason)

    def _cause(self, target: dict[str, Any], policy: Cooled, *, out: bool) -> str:
        records = policies.of_target(self._service, target)
        record = next(record for record in records if record["PolicyName"] == policy.name)
        alarm = alarms.name_of(record, "AlarmHigh" if out else "AlarmLow")
        return f"monitor alarm {alarm} in state {State.ALARM} triggered policy {policy.name}"


def _bounds(target: Mapping[str, Any]) -> Bounds:
    return Bounds(minimum=target["MinCapacity"], maximum=target["MaxCapacity"])


def _suspended(target: Mapping[str, Any]) -> Suspended:
    state = target["SuspendedState"]
    return Suspended(
        scale_in=state["DynamicScalingInSuspended"], scale_out=state["DynamicScalingOutSuspended"]
    )
