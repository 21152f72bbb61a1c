"""Cost and time of each policy as one SVG file: a bar to the median, a line from p5 to p95."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.spot_simulation.study import QUANTILES, Outcome, quantile

_LEFT, _RIGHT, _TOP, _PANEL, _GAP, _BOTTOM = 50, 90, 70, 190, 46, 40
_BAR, _BETWEEN = 26, 34
_LIMIT = 1.6  # of the axes; what is beyond has its figure in words
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_COLOURS = ("#8a8f98", "#c2571a", "#1b5e9c", "#3a7d44")


def as_svg(title: str, traces: Mapping[str, Mapping[str, Outcome]], price: float) -> str:
    """The picture.

    Args:
        title: Stands above it.
        traces: By name of the trace, then of the policy.
        price: Of a Spot host over an on-demand one, drawn as the floor of the cost.
    """
    names = list(dict.fromkeys(name for outcomes in traces.values() for name in outcomes))
    # Wide enough for the bars, and for the name below them.
    group = max(len(names) * _BAR + _BETWEEN, *(7 * len(name) + 16 for name in traces))
    width = max(_LEFT + len(traces) * group + _RIGHT, 560)
    height = _TOP + 2 * _PANEL + _GAP + _BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
        f"height='{height}' {_FONT} role='img'>",
        f"<title>{escape(title)}</title><rect width='{width}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='24' font-size='15' font-weight='600'>{escape(title)}</text>",
        *_legend(names),
    ]
    for panel, (what, lines) in enumerate(
        (("cost", {"on-demand": 1.0, "Spot price": price}), ("time", {"on-demand": 1.0}))
    ):
        base = _TOP + _PANEL + panel * (_PANEL + _GAP)
        parts += _axis(what, base, width, lines)
        for place, outcomes in enumerate(traces.values()):
            for column, name in enumerate(names):
                if name in outcomes:
                    values = outcomes[name].costs if what == "cost" else outcomes[name].times
                    x = _LEFT + (place + 0.5) * group + (column - len(names) / 2) * _BAR
                    parts += _bar(values, x, base, _COLOURS[column % len(_COLOURS)])
    parts += [
        f"<text x='{_LEFT + (place + 0.5) * group:.0f}' y='{height - 14}' font-size='12' "
        f"text-anchor='middle'>{escape(name)}</text>"
        for place, name in enumerate(traces)
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], 12
    for place, name in enumerate(names):
        parts.append(
            f"<rect x='{x}' y='36' width='10' height='10' fill='{_COLOURS[place % len(_COLOURS)]}'/>"
            f"<text x='{x + 14}' y='45' font-size='11'>{escape(name)}</text>"
        )
        x += 34 + 6 * len(name)
    return parts


def _axis(what: str, base: float, width: float, lines: Mapping[str, float]) -> list[str]:
    parts = [
        f"<text x='12' y='{base - _PANEL + 4}' font-size='12' font-weight='600'>{what}</text>",
        f"<line x1='{_LEFT}' x2='{width - 12}' y1='{base}' y2='{base}' stroke='#333333'/>",
    ]
    for name, value in lines.items():
        y = base - value / _LIMIT * _PANEL
        parts.append(
            f"<line x1='{_LEFT}' x2='{width - 12}' y1='{y:.1f}' y2='{y:.1f}' stroke='#999999' "
            f"stroke-dasharray='4 3'/><text x='12' y='{y + 4:.1f}' font-size='11'>{value:g}</text>"
            f"<text x='{width - 12}' y='{y - 4:.1f}' font-size='11' fill='#666666' "
            f"text-anchor='end'>{name}</text>"
        )
    return parts


def _bar(values: Sequence[float], x: float, base: float, colour: str) -> list[str]:
    low, middle, high = (quantile(values, share) for share in QUANTILES)

    def y(value: float) -> float:
        return base - min(value, _LIMIT) / _LIMIT * _PANEL

    centre = x + (_BAR - 4) / 2
    parts = [
        f"<rect x='{x:.1f}' y='{y(middle):.1f}' width='{_BAR - 4}' height='{base - y(middle):.1f}' "
        f"fill='{colour}' fill-opacity='{0.75 if math.isfinite(middle) else 0.25}'/>",
        f"<line x1='{centre:.1f}' x2='{centre:.1f}' y1='{y(low):.1f}' y2='{y(high):.1f}' stroke='#111111'/>",
    ]
    if middle > _LIMIT:
        words = f"{middle:.1f}" if math.isfinite(middle) else "no end"
        parts.append(
            f"<text x='{centre + 4:.1f}' y='{base - 6}' font-size='11' "
            f"transform='rotate(-90 {centre + 4:.1f} {base - 6})'>{words}</text>"
        )
    return parts
