"""What is drawn: steps, what each waits for, and their outcome where there is an execution. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.graph import build_graph
from modelyard_cli.executions import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A step. `status` is empty where there is no execution; `seconds` is None where it did not run."""

    name: str
    type: str
    status: str = ""
    seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`target` waits for `source`; `label` says on which outcome of a condition."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The graph of a definition, nodes in an order in which each comes after all it waits for."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "steps": [
                {"name": n.name, "type": n.type, "status": n.status, "seconds": n.seconds, "detail": n.detail}
                for n in self.nodes
            ],
            "edges": [{"from": e.source, "to": e.target, "label": e.label} for e in self.edges],
        }


def picture_of(definition: str, title: str) -> Picture:
    """The picture of a definition's text; edges that others imply are left out.

    Raises:
        DefinitionError: The definition is not one, with every problem found.
    """
    parsed = parse_definition(definition)
    graph = build_graph(parsed)
    labels = {
        (branch.condition, name): "true" if branch.outcome else "false"
        for name, branch in graph.branches.items()
    }
    return Picture(
        title=title,
        nodes=tuple(Node(name=name, type=parsed.steps[name].type) for name in graph.order),
        edges=tuple(
            Edge(source=source, target=name, label=labels.get((source, name), ""))
            for name in graph.order
            for source in sorted(_direct(name, graph.needs), key=graph.order.index)
        ),
    )


def with_execution(picture: Picture, execution: Execution) -> Picture:
    """The picture with what became of each step."""
    steps = {step.name: step for step in execution.steps}
    return replace(
        picture,
        title=f"{picture.title}: {execution.status} in {execution.seconds:.1f} s",
        nodes=tuple(
            replace(
                node,
                status=steps[node.name].status,
                seconds=steps[node.name].seconds
                if steps[node.name].status not in ("Waiting", "Skipped")
                else None,
                detail=steps[node.name].detail,
            )
            if node.name in steps
            else node
            for node in picture.nodes
        ),
    )


def _direct(name: str, needs: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What a step waits for, less what those wait for themselves."""
    implied: set[str] = set()
    pending = [further for need in needs[name] for further in needs[need]]
    while pending:
        step = pending.pop()
        if step not in implied:
            implied.add(step)
            pending += needs[step]
    return needs[name] - implied
