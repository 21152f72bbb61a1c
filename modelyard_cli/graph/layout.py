"""Where things go: layers from top to bottom, few crossings, long edges around the steps between. Pure.

Layers by longest path, then a few sweeps that put each node near the mean of its neighbours (Sugiyama,
Tagawa, Toda: Methods for Visual Understanding of Hierarchical System Structures, 1981).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelyard_cli.graph.picture import Edge, Picture

HEIGHT, LAYER, GAP, MARGIN = 48, 96, 28, 24
_CHARACTER, _PADDING = 7.6, 36
# Enough for orders, and for places, to settle: more change nothing in definitions of 200 steps.
_SWEEPS, _PULLS = 8, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A step's rectangle in pixels: centre, top, width."""

    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Boxes by step, the points that each edge passes, and the size of it all, in pixels."""

    boxes: Mapping[str, Box]
    routes: Mapping[Edge, tuple[tuple[float, float], ...]]
    width: float
    height: float


def lay_out(picture: Picture) -> Layout:
    """Place every step and route every edge."""
    widths = {n.name: max(len(n.name), len(n.type) + 12) * _CHARACTER + _PADDING for n in picture.nodes}
    depth: dict[str, int] = {}
    for node in picture.nodes:
        before = [depth[edge.source] for edge in picture.edges if edge.target == node.name]
        depth[node.name] = max(before, default=-1) + 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name, level in depth.items():
        layers[level].append(name)
    chains = {edge: _chain(edge, depth, layers) for edge in picture.edges}
    links = [link for chain in chains.values() for link in pairwise(chain)]
    _order(layers, links)
    centres = _centres(layers, links, widths)
    tops = {name: MARGIN + 28 + level * LAYER for level, layer in enumerate(layers) for name in layer}
    routes = {edge: _route(chain, centres, tops) for edge, chain in chains.items()}
    right = max((centres[n] + widths.get(n, 0) / 2 for n in centres), default=0.0)
    return Layout(
        boxes={name: Box(x=centres[name], y=tops[name], width=widths[name]) for name in widths},
        routes=routes,
        width=right + MARGIN,
        height=2 * MARGIN + 28 + (len(layers) - 1) * LAYER + HEIGHT,
    )


def _chain(edge: Edge, depth: Mapping[str, int], layers: list[list[str]]) -> list[str]:
    """The edge's stations, one in each layer: between its ends, places that are kept free for it."""
    stations = [edge.source]
    for level in range(depth[edge.source] + 1, depth[edge.target]):
        place = f"{edge.source}\n{edge.target}\n{level}"  # no step's name has a line break
        layers[level].append(place)
        stations.append(place)
    return [*stations, edge.target]


def _order(layers: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    above, below = _neighbours(links)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for level in range(len(layers)) if down else reversed(range(len(layers))):
            rank = {name: i for layer in layers for i, name in enumerate(layer)}
            wanted = {n: _mean([rank[m] for m in neighbours.get(n, [n])]) for n in layers[level]}
            layers[level].sort(key=wanted.__getitem__)


def _centres(
    layers: list[list[str]], links: Sequence[tuple[str, str]], widths: Mapping[str, float]
) -> dict[str, float]:
    """Horizontal centres: packed from the left, then each layer moved towards what it hangs on."""
    centres: dict[str, float] = {}
    for layer in layers:
        left = float(MARGIN)
        for name in layer:
            width = widths.get(name, GAP)
            centres[name] = left + width / 2
            left += width + GAP
    above, below = _neighbours(links)
    for _ in range(_PULLS):
        # Upwards last: then a chain of steps stands straight above what it ends in.
        for neighbours, order in ((above, layers[1:]), (below, layers[-2::-1])):
            for layer in order:
                wanted = {n: _mean([centres[m] for m in neighbours.get(n, [n])]) for n in layer}
                _settle(layer, wanted, widths, centres)
    shift = MARGIN - min((centres[n] - widths.get(n, 0) / 2 for n in centres), default=MARGIN)
    return {name: centre + shift for name, centre in centres.items()}


def _neighbours(links: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for source, target in links:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _settle(
    layer: list[str], wanted: Mapping[str, float], widths: Mapping[str, float], centres: dict[str, float]
) -> None:
    """Move a layer's nodes to where they want to be, as far as their order and width allow."""
    groups: list[list[str]] = []
    for name in layer:
        groups.append([name])
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], wanted, widths):
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        left = _left(group, wanted, widths)
        for name in group:
            width = widths.get(name, GAP)
            centres[name] = left + width / 2
            left += width + GAP


def _left(group: list[str], wanted: Mapping[str, float], widths: Mapping[str, float]) -> float:
    return sum(wanted[name] for name in group) / len(group) - _span(group, widths) / 2


def _overlap(
    left: list[str], right: list[str], wanted: Mapping[str, float], widths: Mapping[str, float]
) -> bool:
    return _left(right, wanted, widths) < _left(left, wanted, widths) + _span(left, widths) + GAP


def _span(group: list[str], widths: Mapping[str, float]) -> float:
    return sum(widths.get(name, GAP) for name in group) + GAP * (len(group) - 1)


def _route(
    chain: list[str], centres: Mapping[str, float], tops: Mapping[str, float]
) -> tuple[tuple[float, float], ...]:
    first, *between, last = chain
    points = [(centres[first], tops[first] + HEIGHT)]
    for place in between:
        points += [(centres[place], tops[place]), (centres[place], tops[place] + HEIGHT)]
    return (*points, (centres[last], tops[last]))
