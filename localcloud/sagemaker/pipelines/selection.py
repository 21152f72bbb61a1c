"""Selective execution: some steps of a pipeline, on what the others gave in an earlier execution.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from localcloud.sagemaker.pipelines.expressions import references
from localcloud.sagemaker.pipelines.graph import Graph, build_graph
from localcloud.sagemaker.pipelines.model import Definition


class SelectionError(ValueError):
    """Steps that cannot be run without the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What runs, and what must come from the source execution.

    Args:
        graph: of the selected steps alone; a step nested in a condition that is not selected runs whatever
            that condition would say.
        reused: the steps that selected ones refer to, in the order of the graph.
    """

    graph: Graph
    reused: tuple[str, ...]


def select(definition: Definition, names: Iterable[str] | None) -> Selection:
    """The part of a definition's graph that runs; all of it without names.

    Raises:
        SelectionError: a name is no step's, or a step between two selected ones is missing.
    """
    graph = build_graph(definition)
    if names is None:
        return Selection(graph=graph, reused=())
    selected = frozenset(names)
    if unknown := selected - set(graph.order):
        raise SelectionError(
            f"SelectedSteps names {', '.join(sorted(unknown))}; the steps are: {', '.join(graph.order)}."
        )
    if between := _between(graph, selected):
        raise SelectionError(
            f"SelectedSteps lacks {', '.join(between)}: all steps on the paths between two selected steps "
            "must be selected."
        )
    wanted = {
        reference.name
        for name in selected
        for reference in references(list(definition.steps[name].values))
        if reference.root == "Steps"
    }
    return Selection(
        graph=Graph(
            order=tuple(name for name in graph.order if name in selected),
            needs={name: graph.needs[name] & selected for name in selected},
            branches={
                name: branch
                for name, branch in graph.branches.items()
                if name in selected and branch.condition in selected
            },
        ),
        reused=tuple(name for name in graph.order if name in wanted - selected),
    )


def _between(graph: Graph, selected: frozenset[str]) -> list[str]:
    after: set[str] = set()
    for name in graph.order:
        if graph.needs[name] & (selected | after):
            after.add(name)
    before: set[str] = set()
    for name in reversed(graph.order):
        if name in selected or name in before:
            before |= graph.needs[name]
    return [name for name in graph.order if name in after & before - selected]
