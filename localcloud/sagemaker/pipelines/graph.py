"""Which steps wait for which, and what may start now. Pure: no clock, no threads, no store."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from localcloud.sagemaker.pipelines.expressions import references
from localcloud.sagemaker.pipelines.model import Branch, Definition, Step


class CycleError(ValueError):
    """Steps that wait for each other; the message is the circle."""


class Status(StrEnum):
    """A step within one execution. SKIPPED is ours: AWS simply does not list a step that never ran."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next: steps to start and steps that will never run, both in the order of the graph."""

    start: tuple[str, ...]
    skip: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps in an order in which each comes after all it waits for."""

    order: tuple[str, ...]
    needs: Mapping[str, frozenset[str]]
    branches: Mapping[str, Branch]


def needs_of(step: Step) -> frozenset[str]:
    """The steps that a step waits for: `DependsOn`, steps it refers to, and the condition it is nested in."""
    needed = set(step.depends_on)
    needed.update(r.name for r in references(list(step.values)) if r.root == "Steps")
    if step.branch is not None:
        needed.add(step.branch.condition)
    return frozenset(needed)


def build_graph(definition: Definition) -> Graph:
    """The graph of a definition.

    Raises:
        CycleError: steps wait for each other.
    """
    needs = {name: needs_of(step) for name, step in definition.steps.items()}
    branches = {name: step.branch for name, step in definition.steps.items() if step.branch is not None}
    return Graph(_sort(needs), needs, branches)


def decide(
    graph: Graph,
    statuses: Mapping[str, Status],
    outcomes: Mapping[str, bool],
    *,
    limit: int | None = None,
    halted: bool = False,
) -> Decision:
    """What to start and what to give up, given what has happened so far.

    A step starts when all it waits for has succeeded and its branch is the one taken. A step is given up when
    one of those failed, was stopped or was given up itself, or when the other branch is taken. All that
    depends on none of those goes on, as on AWS, unless the execution is halted.

    Args:
        statuses: every step's status.
        outcomes: the outcome of each Condition step that succeeded.
        limit: how many steps may run at once; None for no limit.
        halted: the execution is being stopped, or a Fail step was reached: nothing new starts.
    """
    start: list[str] = []
    skipped: dict[str, None] = {}
    free = float("inf") if limit is None else limit - sum(s is Status.RUNNING for s in statuses.values())
    for name in graph.order:
        if statuses[name] is not Status.PENDING:
            continue
        before = {Status.SKIPPED if need in skipped else statuses[need] for need in graph.needs[name]}
        branch = graph.branches.get(name)
        elsewhere = (
            branch is not None and outcomes.get(branch.condition, branch.outcome) is not branch.outcome
        )
        if halted or elsewhere or before & {Status.FAILED, Status.STOPPED, Status.SKIPPED}:
            skipped[name] = None
        elif before <= {Status.SUCCEEDED} and len(start) < free:
            start.append(name)
    return Decision(tuple(start), tuple(skipped))


def _sort(needs: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    order: dict[str, None] = {}
    for root in needs:
        # An explicit stack: definitions may chain more steps than Python recurses.
        path: dict[str, None] = {root: None}
        stack = [(root, iter(sorted(needs[root])))]
        while stack and root not in order:
            name, waiting = stack[-1]
            following = next((need for need in waiting if need not in order), None)
            if following is None:
                stack.pop()
                path.pop(name)
                order[name] = None
            elif following in path:
                circle = [*list(path)[list(path).index(following) :], following]
                raise CycleError(" -> ".join(circle))
            else:
                path[following] = None
                stack.append((following, iter(sorted(needs[following]))))
    return tuple(order)
