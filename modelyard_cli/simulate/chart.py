"""Plans over time as one SVG file: what was needed, what served, which minutes were saturated. No library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from modelyard_cli.simulate.simulation import Minute, Outcome
from modelyard_cli.simulate.trace import MINUTE, Trace

_WIDTH, _LEFT, _RIGHT, _TOP = 960, 52, 16, 54
_STRIP, _GAP, _FOOT = 110, 34, 30
_COLUMNS = 720  # however long the trace
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_TEXT, _NEED, _SERVE, _HOT = "#1d2939", "#c7d7ee", "#1b5e9c", "#e0564a"


@dataclass(frozen=True, slots=True)
class _Column:
    """A few minutes: the most that was needed, the least and the most that served."""

    need: float
    least: float
    most: float
    saturated: bool


def as_svg(trace: Trace, outcomes: Sequence[Outcome], target: float) -> str:
    """The picture.

    Args:
        target: invocations per instance and minute that make one instance of need.
    """
    strips = [_columns(outcome.minutes, target) for outcome in outcomes]
    top = max(1.0, *(max(column.need, column.most) for strip in strips for column in strip))
    height = _TOP + len(strips) * (_STRIP + _GAP) + _FOOT
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' {_FONT} role='img'>",
        f"<title>{escape(trace.name)}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(_LEFT, 22, trace.name, size=15, weight=600),
        _text(_LEFT, 40, "instances: needed (area), serving (line); saturated minutes in red", size=11),
    ]
    for index, (outcome, strip) in enumerate(zip(outcomes, strips, strict=True)):
        base = _TOP + index * (_STRIP + _GAP) + _STRIP
        parts += _strip(strip, base, top, outcome.plan.name)
    parts += _days(trace, height - _FOOT + 4)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _columns(minutes: Sequence[Minute], target: float) -> list[_Column]:
    size = max(1, -(-len(minutes) // _COLUMNS))
    found = []
    for start in range(0, len(minutes), size):
        part = minutes[start : start + size]
        found.append(
            _Column(
                need=max(minute.load for minute in part) / target,
                least=min(minute.serving for minute in part),
                most=max(minute.serving for minute in part),
                saturated=any(minute.saturated for minute in part),
            )
        )
    return found


def _strip(strip: Sequence[_Column], base: float, top: float, name: str) -> list[str]:
    width = (_WIDTH - _LEFT - _RIGHT) / len(strip)

    def x(index: int) -> str:
        return f"{_LEFT + index * width:.1f}"

    def y(value: float) -> str:
        return f"{base - value / top * _STRIP:.1f}"

    right = _WIDTH - _RIGHT

    def steps(values: Sequence[float]) -> list[str]:
        """Corners of a line that goes up and down at columns' edges."""
        points = []
        for index, value in enumerate(values):
            if index == 0 or value != values[index - 1]:
                before = [f"{x(index)},{y(values[index - 1])}"] if index else []
                points += [*before, f"{x(index)},{y(value)}"]
        return [*points, f"{right},{y(values[-1])}"]

    need = steps([column.need for column in strip])
    upper = steps([column.most for column in strip])
    lower = steps([column.least for column in strip])
    hot = [
        f"<rect x='{x(index)}' y='{base + 2:.1f}' width='{max(width, 1):.1f}' height='5' fill='{_HOT}'/>"
        for index, column in enumerate(strip)
        if column.saturated
    ]
    ticks = sorted({0, round(top / 2), round(top)})
    return [
        f"<g aria-label='{escape(name, {chr(39): '&apos;'})}'>",
        _text(_LEFT, base - _STRIP - 6, name[:110], size=12, weight=600),
        *(f"<path d='M{_LEFT},{y(tick)}H{right}' stroke='#eaecf0'/>" for tick in ticks),
        *(_text(_LEFT - 8, float(y(tick)) + 4, str(tick), size=10, anchor="end") for tick in ticks),
        f"<polygon points='{_LEFT},{base:.1f} {' '.join(need)} {right},{base:.1f}' fill='{_NEED}'/>",
        # A column may hold many minutes: the line is as thick as what served varied within it.
        f"<polygon points='{' '.join(upper)} {' '.join(reversed(lower))}' fill='{_SERVE}' "
        f"fill-opacity='0.35' stroke='{_SERVE}' stroke-width='1.5'/>",
        *hot,
        "</g>",
    ]


def _days(trace: Trace, base: float) -> list[str]:
    """Dates below, at most eight."""
    total = len(trace.loads)
    step = max(1, -(-total // 8))
    inner = _WIDTH - _LEFT - _RIGHT
    labels = []
    for minute in range(0, total, step):
        when = datetime.fromtimestamp(trace.start + minute * MINUTE, UTC)
        labels.append(_text(_LEFT + minute / total * inner, base + 12, f"{when:%m-%d %H:%M}", size=10))
    return labels


def _text(x: float, y: float, text: str, *, size: int, weight: int = 400, anchor: str = "start") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='{_TEXT}'>{escape(text)}</text>"
    )
