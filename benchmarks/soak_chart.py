"""A soak as one SVG file, drawn from its figures alone: `python -m benchmarks.soak_chart [FIGURES.json]`.

The picture stands beside its figures, names their run, and can be drawn from them again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.harness import OUT

_WIDTH, _LEFT, _RIGHT, _TOP, _GAP = 960, 190, 16, 46, 26
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_COLOURS = ("#1b5e9c", "#c2571a", "#3a7d44", "#7a3b8f", "#8a6d1d", "#5c6670")
_NAMES = {"rss_mb": "MB", "handles": "handles", "threads": "threads"}

Line = tuple[str, Sequence[float | None]]


def draw(figures: Path) -> Path:
    """Draw the picture beside a soak's figures."""
    picture = figures.with_suffix(".svg")
    picture.write_text(as_svg(json.loads(figures.read_text())))
    return picture


def as_svg(figures: Mapping[str, Any]) -> str:
    """The picture of what `benchmarks.soak` measured; the warm-up is grey."""
    entries = figures["timeline"]
    title = (
        f"{figures['minutes']:g} minutes at {figures['share']:.0%} load, versions switched and tried all the "
        f"while; run {figures['run']}"
    )
    strips = _strips(entries)
    heights = [max(70, 20 + 14 * len(lines)) for lines in strips.values()]
    height = _TOP + sum(heights) + len(heights) * _GAP + 10
    width = _WIDTH - _LEFT - _RIGHT
    grey = width * min(1.0, figures["warm_up_s"] / (figures["minutes"] * 60))
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' {_FONT} role='img'>",
        f"<title>{escape(title)}</title><rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='24' font-size='15' font-weight='600'>{escape(title)}</text>",
    ]
    top = _TOP
    for (name, lines), tall in zip(strips.items(), heights, strict=True):
        parts.append(
            f"<rect x='{_LEFT}' y='{top}' width='{grey:.1f}' height='{tall}' fill='#eef0f3'/>"
            f"<text x='12' y='{top + 12}' font-size='12' font-weight='600'>{escape(name)}</text>"
        )
        for number, line in enumerate(lines):
            parts.append(_line(line, number, top, tall, width))
        top += tall + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _strips(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Line]]:
    roles = sorted({role for entry in entries for role in entry["processes"]})
    strips: dict[str, list[Line]] = {
        "every ten seconds": [
            (label, [entry[name] for entry in entries])
            for name, label in (("requests", "requests"), ("p50_ms", "ms p50"), ("p99_ms", "ms p99"))
        ],
        "instances, machine": [
            (label, [entry[name] for entry in entries])
            for name, label in (("instances", "instances"), ("load", "load average"), ("steal_s", "s stolen"))
        ],
        "seconds of CPU": [(role, [entry["cpu_s"].get(role) for entry in entries]) for role in roles],
    }
    for role in roles:
        strips[role] = [
            (label, [entry["processes"].get(role, {}).get(measure) for entry in entries])
            for measure, label in _NAMES.items()
        ]
    return strips


def _line(line: Line, number: int, top: int, tall: int, width: int) -> str:
    label, values = line
    known = [value for value in values if value is not None]
    if not known:
        return ""
    most, last = max(known) * 1.1 or 1.0, max(1, len(values) - 1)
    points = " ".join(
        f"{_LEFT + at / last * width:.1f},{top + tall - value / most * tall:.1f}"
        for at, value in enumerate(values)
        if value is not None
    )
    colour = _COLOURS[number % len(_COLOURS)]
    return (
        f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>"
        f"<text x='12' y='{top + 28 + 14 * number}' font-size='11' fill='{colour}'>"
        f"{min(known):.4g} to {max(known):.4g} {escape(label)}</text>"
    )


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]) if sys.argv[1:] else OUT / "soak.json"))
