"""Charts as SVG text, of bounded size whatever the number of rows; no library, so that a step starts at once.

histogram(errors, x_label="predicted - true")
density(truth, predictions, x_label="true", y_label="predicted", diagonal=True)
bars({"term": 0.4, "state": 0.1})
curves({"ROC": (false_positives, true_positives)}, x_label="...", y_label="...", diagonal=True)
matrix([[50, 2], [3, 40]], ["benign", "malignant"], x_label="predicted", y_label="true")
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT = 440, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 12, 46
COLORS = ("#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f")
CELLS, BINS, CURVE_POINTS, MAX_BARS = 48, 40, 400, 20
# The share of rows at either end that is drawn at the edge: a few far values must not make the rest a dot.
TRIM = 0.002


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round numbers."""
        spread = self.high - self.low
        if not spread > 0:
            return [self.low]
        step = 10 ** math.floor(math.log10(spread / 5))
        step *= next(factor for factor in (1, 2, 5, 10) if spread / (step * factor) <= 6)
        first = math.ceil(self.low / step)
        return [index * step for index in range(first, math.floor(self.high / step) + 1)]


def histogram(values: Any, *, x_label: str) -> str:
    """How often which value occurs."""
    low, high = _range(values)
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    x, y = _axes(low, high, 0, max(1, int(counts.max())))
    shapes = [
        _rect(x.at(a), y.at(count), x.at(b) - x.at(a) - 0.5, y.at(0) - y.at(count), COLORS[0])
        for count, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if count
    ]
    return _svg([*shapes, *_frame(x, y, x_label, "rows")], x_label)


def density(x_values: Any, y_values: Any, *, x_label: str, y_label: str, diagonal: bool = False) -> str:
    """Pairs of numbers: the darker a cell, the more of them. `diagonal`: equal ranges, and the line x = y."""
    (x_low, x_high), (y_low, y_high) = _range(x_values), _range(y_values)
    if diagonal:
        x_low = y_low = min(x_low, y_low)
        x_high = y_high = max(x_high, y_high)
    counts, x_edges, y_edges = np.histogram2d(
        np.clip(x_values, x_low, x_high),
        np.clip(y_values, y_low, y_high),
        bins=CELLS,
        range=((x_low, x_high), (y_low, y_high)),
    )
    x, y = _axes(x_low, x_high, y_low, y_high)
    width, height = (x.end - x.start) / CELLS, (y.start - y.end) / CELLS
    top = max(1.0, float(counts.max()))
    shapes = [
        _rect(
            x.at(float(x_edges[i])),
            y.at(float(y_edges[j + 1])),
            width,
            height,
            COLORS[0],
            0.15 + 0.85 * math.sqrt(counts[i, j] / top),
        )
        for i, j in np.argwhere(counts).tolist()
    ]
    if diagonal:
        shapes.append(
            _line([(x.at(x_low), y.at(x_low)), (x.at(x_high), y.at(x_high))], COLORS[1], dashed=True)
        )
    return _svg([*shapes, *_frame(x, y, x_label, y_label)], f"{y_label} by {x_label}")


def bars(values: Mapping[str, float], *, x_label: str = "") -> str:
    """Named numbers, the largest first; of many the first `MAX_BARS`."""
    ranked = sorted(values.items(), key=lambda item: -item[1])[:MAX_BARS]
    top = max([value for _, value in ranked], default=1.0) or 1.0
    row, left = 18, 210
    shapes = []
    for index, (name, value) in enumerate(ranked):
        y = index * row + 4
        length = max(0.0, value / top) * (WIDTH - left - 60)
        shapes += [
            _text(left - 6, y + 11, name[:32], "end"),
            _rect(left, y, length, row - 5, COLORS[0]),
            _text(left + length + 4, y + 11, _number(value), "start"),
        ]
    height = len(ranked) * row + 24
    shapes.append(_text(left, height - 6, x_label, "start"))
    return _svg(shapes, x_label or "bars", height=height)


def curves(
    lines: Mapping[str, tuple[Any, Any]], *, x_label: str, y_label: str, diagonal: bool = False
) -> str:
    """Lines through points of the unit square, such as ROC and precision against recall."""
    x, y = _axes(0.0, 1.0, 0.0, 1.0)
    shapes = [_line([(x.at(0), y.at(0)), (x.at(1), y.at(1))], "#999", dashed=True)] if diagonal else []
    for index, (name, (xs, ys)) in enumerate(lines.items()):
        color = COLORS[index % len(COLORS)]
        kept = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), CURVE_POINTS)).astype(int)).tolist()
        shapes.append(_line([(x.at(float(xs[i])), y.at(float(ys[i]))) for i in kept], color))
        shapes.append(_text(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 10 - 15 * index, name, "end", color))
    return _svg([*shapes, *_frame(x, y, x_label, y_label)], f"{y_label} by {x_label}")


def matrix(counts: Sequence[Sequence[int]], labels: Sequence[str], *, x_label: str, y_label: str) -> str:
    """Counts by row and column label, such as a confusion matrix (rows true, columns predicted)."""
    size, left, top = min(64, 340 // max(1, len(labels))), 110, 40
    highest = max((count for row in counts for count in row), default=0) or 1
    shapes = [_text(left, 14, f"{x_label} →, {y_label} ↓", "start")]
    for i, row in enumerate(counts):
        shapes.append(_text(left - 6, top + i * size + size / 2 + 4, labels[i][:16], "end"))
        shapes.append(_text(left + i * size + size / 2, top - 6, labels[i][: max(3, size // 7)], "middle"))
        for j, count in enumerate(row):
            share = count / highest
            shapes.append(
                _rect(left + j * size, top + i * size, size - 1, size - 1, COLORS[0], 0.06 + 0.94 * share)
            )
            if size >= 24:
                middle = (left + j * size + size / 2, top + i * size + size / 2 + 4)
                shapes.append(_text(*middle, str(count), "middle", "#fff" if share > 0.5 else "#222"))
    return _svg(shapes, f"{y_label} by {x_label}", height=top + size * len(labels) + 8)


def _range(values: Any) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = (float(edge) for edge in np.quantile(values, (TRIM, 1 - TRIM)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axes(x_low: float, x_high: float, y_low: float, y_high: float) -> tuple[_Axis, _Axis]:
    return _Axis(x_low, x_high, LEFT, WIDTH - RIGHT), _Axis(y_low, y_high, HEIGHT - BOTTOM, TOP)


def _frame(x: _Axis, y: _Axis, x_label: str, y_label: str) -> list[str]:
    shapes = [_line([(x.start, y.end), (x.start, y.start), (x.end, y.start)], "#444")]
    shapes += [_text(x.at(tick), y.start + 16, _number(tick), "middle") for tick in x.ticks()]
    shapes += [_text(x.start - 6, y.at(tick) + 4, _number(tick), "end") for tick in y.ticks()]
    shapes.append(_text((x.start + x.end) / 2, HEIGHT - 8, x_label, "middle"))
    turned = f'transform="rotate(-90 12 {HEIGHT / 2})" '
    shapes.append(_text(12, HEIGHT / 2, y_label, "middle", extra=turned))
    return shapes


def _svg(shapes: Sequence[str], title: str, *, height: float = HEIGHT) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">'
    return f"{head}<title>{html.escape(title)}</title>{''.join(shapes)}</svg>"


def _rect(x: float, y: float, width: float, height: float, color: str, opacity: float = 1.0) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect {place} fill="{color}" fill-opacity="{opacity:.2f}"/>'


def _line(points: Sequence[tuple[float, float]], color: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str, color: str = "#222", extra: str = "") -> str:
    place = f'{extra}x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"'
    return f'<text {place} font-size="11">{html.escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 10_000 else f"{value:,.0f}"
