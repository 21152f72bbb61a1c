"""Which container instance takes a task, and why none does.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.ecs import query_language
from localcloud.ecs.instance_types import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one task takes of its instance.

    Args:
        group: of the task; `distinctInstance` keeps its tasks apart.
        expressions: of the constraint `memberOf`.
        ports: fixed ones of the host, for the network modes `bridge` and `host`.
    """

    cpu: int
    memory: int
    gpus: int = 0
    ports: frozenset[int] = frozenset()
    group: str = ""
    distinct: bool = False
    expressions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A container instance and what its tasks take; `facts` are what expressions ask for."""

    arn: str
    zone: str
    offered: Resources
    taken: tuple[Demand, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def cpu(self) -> int:
        return self.offered.cpu - sum(demand.cpu for demand in self.taken)

    @property
    def memory(self) -> int:
        return self.offered.memory - sum(demand.memory for demand in self.taken)

    @property
    def gpus(self) -> int:
        return self.offered.gpus - sum(demand.gpus for demand in self.taken)

    def refusal(self, demand: Demand) -> str | None:
        """Why the task does not fit, in the words of `failures[].reason`; None if it does."""
        if demand.distinct and any(other.group == demand.group for other in self.taken):
            return "DistinctInstance placement constraint unsatisfied."
        if not all(query_language.parse(expression)(self.facts) for expression in demand.expressions):
            return "MemberOf placement constraint unsatisfied."
        if any(other.ports & demand.ports for other in self.taken):
            return "RESOURCE:PORTS"
        lacking = {
            "RESOURCE:CPU": demand.cpu > self.cpu,
            "RESOURCE:MEMORY": demand.memory > self.memory,
            "RESOURCE:GPU": demand.gpus > self.gpus,
        }
        return next((reason for reason, lacks in lacking.items() if lacks), None)


def choose(
    hosts: Sequence[Host], demand: Demand, strategy: Sequence[Mapping[str, Any]] = ()
) -> tuple[Host | None, dict[str, str]]:
    """The instance for a task; without one, the reason of each instance by its ARN.

    Args:
        hosts: that may take tasks.
        demand: of the task.
        strategy: `placementStrategy` of the request; without one the emptiest instance is taken.

    Example:
        >>> choose([host], Demand(cpu=256, memory=512))
        (host, {})
    """
    reasons: dict[str, str] = {}
    fitting = []
    for host in hosts:
        reason = host.refusal(demand)
        if reason is None:
            fitting.append(host)
        else:
            reasons[host.arn] = reason
    if not fitting:
        return None, reasons

    def rank(host: Host) -> tuple[float, ...]:
        ranks = [_rank(host, fitting, item, demand.group) for item in strategy]
        return (*ranks, len(host.taken))

    return min(fitting, key=rank), {}


def _rank(host: Host, hosts: Sequence[Host], item: Mapping[str, Any], group: str) -> float:
    field = item.get("field", "").lower()
    if item["type"] == "binpack":
        return host.cpu if field == "cpu" else host.memory
    if item["type"] == "spread":
        zone = field.endswith("availability-zone")
        near = [other for other in hosts if other.zone == host.zone] if zone else [host]
        return sum(1 for other in near for task in other.taken if task.group == group)
    return 0.0
