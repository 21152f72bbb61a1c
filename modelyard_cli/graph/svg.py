"""A picture as SVG: one file, no scripts, nothing loaded from elsewhere. Pure."""

from __future__ import annotations

from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from modelyard_cli.graph.layout import HEIGHT, MARGIN, Layout, lay_out
from modelyard_cli.graph.picture import Edge, Node, Picture

# Fill and line by status; without an execution, all steps are "".
_COLOURS = {
    "": ("#eef4ff", "#3b6fb6"),
    "Succeeded": ("#e3f6e8", "#2e8b57"),
    "Failed": ("#fde7e7", "#c0392b"),
    "Executing": ("#e0f4fa", "#1b8aa8"),
    "Starting": ("#e0f4fa", "#1b8aa8"),
    "Stopping": ("#fff5db", "#b7860b"),
    "Stopped": ("#fff5db", "#b7860b"),
}
_NOT_RUN = ("#f4f4f4", "#a0a0a0")
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"


def as_svg(picture: Picture) -> str:
    """The picture as the text of an SVG file; hovering over a step shows what is known of it."""
    layout = lay_out(picture)
    width = max(layout.width, len(picture.title) * 8 + 2 * MARGIN)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {layout.height:.0f}' "
        f"width='{width:.0f}' height='{layout.height:.0f}' {_FONT}>",
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        "orient='auto'><path d='M0,0 L8,4 L0,8 z' fill='#667085'/></marker></defs>",
        f"<rect width='{width:.0f}' height='{layout.height:.0f}' fill='#ffffff'/>",
        f"<text x='{MARGIN}' y='{MARGIN + 4}' font-size='15' font-weight='600' fill='#1d2939'>"
        f"{escape(picture.title)}</text>",
        *(_edge(edge, layout) for edge in picture.edges),
        *(_node(node, layout) for node in picture.nodes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _edge(edge: Edge, layout: Layout) -> str:
    points = layout.routes[edge]
    path = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    dashes = " stroke-dasharray='5 4'" if edge.label else ""
    line = (
        f"<path d='{' '.join(path)}' fill='none' stroke='#98a2b3' stroke-width='1.4'{dashes} "
        "marker-end='url(#arrow)'/>"
    )
    if not edge.label:
        return line
    x, y = (points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2
    return line + f"<text x='{x + 6:.1f}' y='{y:.1f}' font-size='11' fill='#667085'>{edge.label}</text>"


def _node(node: Node, layout: Layout) -> str:
    box = layout.boxes[node.name]
    fill, stroke = _COLOURS.get(node.status, _NOT_RUN)
    left = box.x - box.width / 2
    known = [node.type, *([node.status] if node.status else []), *([node.detail] if node.detail else [])]
    label = [node.type]
    if node.seconds is not None:
        label.append(f"{node.seconds:.1f} s")
    if node.status and node.status != "Succeeded":
        label.append(node.status)
    elif node.detail == "from cache":
        label.append("from cache")
    title = escape(f"{node.name}: {', '.join(known)}")
    return (
        f"<g aria-label={quoteattr(node.name)}><title>{title}</title>"
        f"<rect x='{left:.1f}' y='{box.y:.1f}' width='{box.width:.1f}' height='{HEIGHT}' rx='9' "
        f"fill='{fill}' stroke='{stroke}' stroke-width='1.4'/>"
        f"<text x='{box.x:.1f}' y='{box.y + 20:.1f}' text-anchor='middle' font-size='13' font-weight='600' "
        f"fill='#1d2939'>{escape(node.name)}</text>"
        f"<text x='{box.x:.1f}' y='{box.y + 37:.1f}' text-anchor='middle' font-size='11' fill='#475467'>"
        f"{escape(' · '.join(label))}</text></g>"
    )
