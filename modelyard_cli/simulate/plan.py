"""What is simulated: a policy, its bounds and schedules, and the machines that serve."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from localcloud.autoscaling.rules.schedule import Schedule, ScheduleError, parse
from localcloud.autoscaling.rules.tracking import Bounds, Policy
from modelyard_cli.errors import CliError

MOST_INSTANCES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A scheduled action: other bounds at set times."""

    text: str
    schedule: Schedule
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way to run an endpoint.

    Args:
        policy: None for a fixed number of instances.
        initial: instances at the beginning.
    """

    name: str
    policy: Policy | None
    bounds: Bounds
    initial: int
    schedules: tuple[Timed, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One instance.

    Args:
        service: seconds that a request takes.
        concurrency: requests served at once.
        start: seconds until a new instance serves.
        patience: seconds after which a waiting request is given up; SageMaker gives a model 60.
    """

    service: float
    concurrency: int = 1
    start: float = 300.0
    patience: float = 60.0


def fixed(name: str, count: int) -> Plan:
    """Without scaling."""
    return Plan(name=name, policy=None, bounds=Bounds(minimum=count, maximum=count), initial=count)


def timed(text: str, begin: float) -> Timed:
    """Read a schedule such as `cron(0 7 ? * MON-FRI *) min=2 max=4 tz=Europe/Berlin`.

    Raises:
        CliError: it is none.
    """
    expression, closed, rest = text.partition(")")
    values = _pairs(f"schedule {text!r}", rest.split(), ("min", "max", "tz"))
    try:
        schedule = parse(expression + closed, values.get("tz"), begin)
    except ScheduleError as error:
        raise CliError(f"schedule {text!r}: {error}") from None
    bounds = {
        name: _whole(f"schedule {text!r}: {name}", values[name]) for name in ("min", "max") if name in values
    }
    if not bounds:
        raise CliError(f"schedule {text!r}: say what it sets, min=N, max=N or both")
    return Timed(text=text, schedule=schedule, minimum=bounds.get("min"), maximum=bounds.get("max"))


def alternative(text: str, base: Plan, begin: float) -> Plan:
    """Read an alternative such as `target=2000 max=6 out=60 in=600 scale-in=off name=eager`.

    What it does not name is as in `base`. A schedule stands in quotes: `"schedule=cron(...) min=3"`.

    Raises:
        CliError: it is none.
    """
    where = f"alternative {text!r}"
    assert base.policy is not None
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise CliError(f"{where}: {error}") from None
    schedules = [part.partition("=")[2] for part in parts if part.startswith("schedule=")]
    others = [part for part in parts if not part.startswith("schedule=")]
    values = _pairs(where, others, ("name", "target", "min", "max", "out", "in", "scale-in"))
    policy, changes = base.policy, dict[str, float]()
    for name, member in (("target", "target"), ("out", "out_cooldown"), ("in", "in_cooldown")):
        if name in values:
            changes[member] = _number(f"{where}: {name}", values[name])
    policy = replace(policy, **changes)  # type: ignore[arg-type]
    if "scale-in" in values:
        if values["scale-in"] not in ("on", "off"):
            raise CliError(f"{where}: scale-in is on or off")
        policy = replace(policy, disable_in=values["scale-in"] == "off")
    bounds = make_bounds(
        where,
        _whole(f"{where}: min", values["min"]) if "min" in values else base.bounds.minimum,
        _whole(f"{where}: max", values["max"]) if "max" in values else base.bounds.maximum,
    )
    return Plan(
        name=values.get("name") or text,
        policy=checked(where, policy),
        bounds=bounds,
        initial=bounds.hold(base.initial),
        schedules=tuple(timed(item, begin) for item in schedules) or base.schedules,
    )


def make_bounds(where: str, minimum: int, maximum: int) -> Bounds:
    """Bounds that fit together; CliError else."""
    if not 0 < minimum <= maximum <= MOST_INSTANCES:
        raise CliError(
            f"{where}: {minimum} to {maximum} instances; give 1 <= minimum <= maximum <= {MOST_INSTANCES}"
        )
    return Bounds(minimum=minimum, maximum=maximum)


def checked(where: str, policy: Policy) -> Policy:
    """A policy as AWS takes it; CliError else."""
    if not policy.target > 0:
        raise CliError(f"{where}: the target is {policy.target:g}; it must be above 0")
    if min(policy.out_cooldown, policy.in_cooldown) < 0:
        raise CliError(f"{where}: cooldowns must not be negative")
    return policy


def _pairs(where: str, parts: list[str], known: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in known or name in values:
            raise CliError(
                f"{where}: {part!r} is not one of {', '.join(f'{name}=' for name in known)} once each"
            )
        values[name] = value
    return values


def _of(kind: Callable[[str], float], where: str, text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise CliError(f"{where}: {text!r} is not a number") from None


def _number(where: str, text: str) -> float:
    return _of(float, where, text)


def _whole(where: str, text: str) -> int:
    return int(_of(int, where, text))
