"""What the simulation takes for granted; all of it is printed with the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """The job, its hosts and their prices; the help of each option of the command line is here.

    Raises:
        ValueError: for a value that cannot be.
    """

    hours: float = 40.0
    hosts: int = 4
    min_hosts: int = 2
    price: float = 0.36
    start_s: tuple[float, float] = (240.0, 480.0)
    cadence_s: float = 600.0
    checkpoint_s: float = 6.0
    recovery_s: float = 15.0
    restart_s: float = 60.0
    efficiency: float = 0.97
    notice_s: float = 120.0
    noticed: float = 0.95
    first_wait_s: float = 15.0
    longest_wait_s: float = 900.0
    limit: float = 20.0

    def __post_init__(self) -> None:
        low, high = self.start_s
        wrong = {
            "hours": self.hours <= 0,
            "hosts": self.hosts < 1,
            "min_hosts": not 1 <= self.min_hosts <= self.hosts,
            "price": not 0 < self.price <= 1,
            "start_s": not 0 <= low <= high,
            "cadence_s": self.cadence_s <= 0,
            "checkpoint_s": self.checkpoint_s < 0,
            "recovery_s": self.recovery_s < 0,
            "restart_s": self.restart_s < 0,
            "efficiency": not 0 < self.efficiency <= 1.5,
            "notice_s": self.notice_s < 0,
            "noticed": not 0 <= self.noticed <= 1,
            "first_wait_s": self.first_wait_s < 0,
            "longest_wait_s": self.longest_wait_s < self.first_wait_s,
            "limit": self.limit <= 1,
        }
        endless = {
            name
            for name, value in self.values().items()
            if not all(map(math.isfinite, value if isinstance(value, tuple) else (value,)))
        }
        if bad := [name for name, is_wrong in wrong.items() if is_wrong or name in endless]:
            raise ValueError(f"{bad[0]} cannot be {getattr(self, bad[0])}; it must be {MEANING[bad[0]]}")

    def speed(self, hosts: int) -> float:
        """Work done in a second, in seconds of one host of the whole gang."""
        return hosts * float(self.efficiency ** (self.hosts - hosts))

    def values(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


MEANING = {
    "hours": "node-hours of useful work with all hosts, above 0",
    "hosts": "hosts of the whole gang, 1 or more",
    "min_hosts": "fewest hosts that the elastic policies go on with, from 1 to hosts",
    "price": "price of a Spot host over that of an on-demand one, above 0 and at most 1",
    "start_s": "seconds from a host's launch until it can train: smallest, largest (drawn evenly)",
    "cadence_s": "seconds of training between two checkpoints, above 0",
    "checkpoint_s": "seconds that training stands still for a checkpoint, 0 or more",
    "recovery_s": "seconds until the hosts that are left, or one more, train again, 0 or more",
    "restart_s": "seconds from hosts that are ready to a restarted job that trains, 0 or more",
    "efficiency": "speed per host with one host less over that of the whole gang, above 0 and at most 1.5",
    "notice_s": "seconds between the notice of an interruption and the loss, 0 or more",
    "noticed": "share of the losses that have a notice, from 0 to 1",
    "first_wait_s": "bound of the first back-off in seconds, 0 or more",
    "longest_wait_s": "bound of all back-offs in seconds, at least first_wait_s",
    "limit": "times the on-demand time after which a run is cut and counts as not finished, above 1",
}
FIXED = (
    "The price is an example: Spot prices move, and differ by type and zone.",
    "The rates are examples: 0.06, 0.24 and 0.46 losses per node-hour were counted in public traces of AWS "
    "V100 hosts of 2023 (github.com/skypilot-org/spot-traces).",
    "On-demand hosts are never lost, and the on-demand run writes no checkpoints.",
    "A host is paid from its launch to its loss or the end of the job: starting, idle and waiting too.",
    "Nothing else is paid: no queue, rendezvous, storage or traffic.",
    "A lost host is launched anew at once, or, with a trace that says so, when there is capacity again.",
    "The first start needs all hosts; hosts that are up wait for the others, paid.",
    "A notice is always in time and always true; a checkpoint is safe once training goes on.",
    "Without drain, one host more joins at the next checkpoint; with drain, at once, after a checkpoint.",
    "The policies without elasticity stop at a loss and start again when all hosts are back.",
    "The policy with no checkpoint has no limit of attempts; the others give up after ten without progress.",
)
