"""A picture as Mermaid text, which code hosts draw where it stands in Markdown. Pure."""

from __future__ import annotations

from modelyard_cli.graph.picture import Node, Picture

_CLASSES = {"Succeeded": "good", "Failed": "bad", "Stopped": "late", "Skipped": "off", "Waiting": "off"}
_STYLES = (
    "classDef good fill:#e3f6e8,stroke:#2e8b57,color:#1d2939",
    "classDef bad fill:#fde7e7,stroke:#c0392b,color:#1d2939",
    "classDef late fill:#fff5db,stroke:#b7860b,color:#1d2939",
    "classDef off fill:#f4f4f4,stroke:#a0a0a0,color:#475467",
)


def as_mermaid(picture: Picture) -> str:
    """The picture as a Mermaid flowchart.

    See https://mermaid.js.org/syntax/flowchart.html
    """
    ids = {node.name: f"s{number}" for number, node in enumerate(picture.nodes)}
    lines = ["---", f"title: {_text(picture.title)}", "---", "flowchart TD"]
    lines += [f"    {ids[node.name]}{_shape(node)}" for node in picture.nodes]
    for edge in picture.edges:
        arrow = f"-. {edge.label} .->" if edge.label else "-->"
        lines.append(f"    {ids[edge.source]} {arrow} {ids[edge.target]}")
    used = {_CLASSES[node.status] for node in picture.nodes if node.status in _CLASSES}
    lines += [f"    {style}" for style in _STYLES if style.split()[1] in used]
    for name in sorted(used):
        members = ",".join(ids[n.name] for n in picture.nodes if _CLASSES.get(n.status) == name)
        lines.append(f"    class {members} {name}")
    return "\n".join(lines) + "\n"


def _shape(node: Node) -> str:
    time = f" · {node.seconds:.1f} s" if node.seconds is not None else ""
    label = f'"{_text(node.name)}<br/>{_text(node.type)}{time}"'
    return f"{{{label}}}" if node.type == "Condition" else f"[{label}]"


def _text(value: str) -> str:
    """Text that cannot end a label early."""
    return value.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;")
