"""Memory, handles and threads over the minutes as one SVG file, one strip for each role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.growth import MEASURES, Sample

_WIDTH, _LEFT, _RIGHT, _TOP, _STRIP, _GAP = 960, 150, 16, 46, 70, 26
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_COLOURS = {"rss_mb": "#1b5e9c", "handles": "#c2571a", "threads": "#3a7d44"}
_NAMES = {"rss_mb": "MB", "handles": "handles", "threads": "threads"}


def as_svg(title: str, totals: Mapping[str, Sequence[Sample]], counted_from: float) -> str:
    """The picture.

    Args:
        title: stands above it.
        totals: by role, in the order of time.
        counted_from: seconds; what lies before is the warm-up, in grey.
    """
    end = max((samples[-1].at for samples in totals.values()), default=1.0) or 1.0
    height = _TOP + len(totals) * (_STRIP + _GAP) + 10
    width = _WIDTH - _LEFT - _RIGHT
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' {_FONT} role='img'>",
        f"<title>{escape(title)}</title><rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='24' font-size='15' font-weight='600'>{escape(title)}</text>",
    ]
    for number, (role, samples) in enumerate(totals.items()):
        base = _TOP + number * (_STRIP + _GAP) + _STRIP
        parts.append(
            f"<rect x='{_LEFT}' y='{base - _STRIP}' width='{width * counted_from / end:.1f}' "
            f"height='{_STRIP}' fill='#eef0f3'/>"
            f"<text x='12' y='{base - _STRIP + 12}' font-size='12' font-weight='600'>{escape(role)}</text>"
        )
        for line, measure in enumerate(MEASURES):
            values = [float(getattr(sample, measure)) for sample in samples]
            top = max(values) * 1.1 or 1.0
            points = " ".join(
                f"{_LEFT + sample.at / end * width:.1f},{base - value / top * _STRIP:.1f}"
                for sample, value in zip(samples, values, strict=True)
            )
            colour = _COLOURS[measure]
            parts.append(
                f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>"
                f"<text x='12' y='{base - _STRIP + 28 + 14 * line}' font-size='11' fill='{colour}'>"
                f"{min(values):.0f} to {max(values):.0f} {_NAMES[measure]}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"
