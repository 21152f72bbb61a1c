"""A job's failures and recoveries as one SVG file, from the lines of its telemetry.

python -m benchmarks.recovery_timeline FOLDER_OF_LINES OUT.svg [TITLE]

Above the step over time, with a tick for each checkpoint; a band where nobody trained, with its seconds and
the steps that were lost. Below the hosts.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _TOP, _STEPS, _GAP, _HOSTS, _BOTTOM = 860, 56, 16, 52, 200, 30, 60, 34
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_BLUE, _GREEN, _ORANGE, _GREY = "#1b5e9c", "#3a7d44", "#f3c9a5", "#8a8f98"


@dataclass(slots=True)
class Life:
    """Of one first rank: from its `started` or `resumed` to its last sign. Times are epoch seconds.

    `points`: (time, step). `checkpoints`: likewise, when they were written. `reason`: how it ended, nothing
    where it was killed.
    """

    began: float
    attempt: int
    hosts: int
    points: list[tuple[float, int]]
    checkpoints: list[tuple[float, int]] = field(default_factory=list)
    reason: str = ""

    @property
    def last(self) -> tuple[float, int]:
        return self.points[-1]


def lives(lines: Iterable[Mapping[str, Any]]) -> list[Life]:
    """Of the lines of a job's first ranks, in any order."""
    found: list[Life] = []
    for at, line in sorted(((time_of(line), line) for line in lines), key=lambda pair: pair[0]):
        event = line.get("event")
        if event in ("started", "resumed"):
            found.append(Life(at, line["attempt"], line["hosts"], [(at, line["step"])]))
        elif not found:
            continue
        elif event == "ended":
            found[-1].reason = line["reason"]
            found[-1].points.append((at, found[-1].last[1]))
        elif event == "checkpoint":
            found[-1].checkpoints.append((at, line["step"]))
            found[-1].points.append((at, max(line["step"], found[-1].last[1])))
        elif event == "training" and "Step" in line:
            found[-1].points.append((at, round(line["Step"])))
    return found


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the first ranks in a folder of telemetry; a last one that is cut off is left out."""
    for path in sorted(folder.rglob("*-rank-00000.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def as_svg(title: str, found: Sequence[Life]) -> str:
    """The picture.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not found:
        raise ValueError("no line says that a job started")
    start, end = found[0].began, max(life.last[0] for life in found)
    steps = max(1, *(step for life in found for _, step in life.points))
    most = max(life.hosts for life in found)
    height = _TOP + _STEPS + _GAP + _HOSTS + _BOTTOM
    middle, floor = _TOP + _STEPS, _TOP + _STEPS + _GAP + _HOSTS

    def x(at: float) -> float:
        return _LEFT + (at - start) / max(end - start, 1e-9) * (_WIDTH - _LEFT - _RIGHT)

    def y(step: float) -> float:
        return middle - step / steps * _STEPS

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' {_FONT} font-size='12' role='img'>",
        f"<title>{escape(title)}</title><rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='22' font-size='15' font-weight='600'>{escape(title)}</text>",
        *_label(_LEFT - 6, _TOP + 4, f"{steps}"),
        *_label(_LEFT - 6, middle, "step 0"),
        *_label(_LEFT - 6, floor - _HOSTS + 4, f"{most}"),
        *_label(_LEFT - 6, floor, "hosts 0"),
    ]
    for before, after in itertools.pairwise(found):
        gone, back = x(before.last[0]), x(after.began)
        lost = before.last[1] - after.points[0][1]
        told = f"{after.began - before.last[0]:.1f} s" + (f", {lost} steps lost" if lost > 0 else "")
        parts += [
            f"<rect x='{gone:.1f}' y='{_TOP}' width='{max(1.0, back - gone):.1f}' "
            f"height='{floor - _TOP}' fill='{_ORANGE}'><title>{escape(before.reason or 'killed')}</title>"
            "</rect>",
            f"<text x='{(gone + back) / 2:.1f}' y='{_TOP - 6}' text-anchor='middle'>{told}</text>",
        ]
    for life in found:
        path = " ".join(f"{x(at):.1f},{y(step):.1f}" for at, step in life.points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{_BLUE}' stroke-width='2'/>")
        parts += [
            f"<path d='M{x(at):.1f} {y(step) - 6:.1f}v12' stroke='{_GREEN}' stroke-width='2'/>"
            for at, step in life.checkpoints
        ]
        top = floor - life.hosts / most * _HOSTS
        parts.append(
            f"<rect x='{x(life.began):.1f}' y='{top:.1f}' width='{x(life.last[0]) - x(life.began):.1f}' "
            f"height='{floor - top:.1f}' fill='{_GREY}'/>"
        )
    parts += [
        f"<text x='{_LEFT}' y='{height - 12}'>0 s</text>",
        f"<text x='{_WIDTH - _RIGHT}' y='{height - 12}' text-anchor='end'>{end - start:.0f} s</text>",
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (2, 3):
        print((__doc__ or "").splitlines()[2])
        return 2
    folder, target, *title = arguments
    found = lives(read(Path(folder)))
    if not found:
        print(f"{folder} holds no lines of a job's first rank")
        return 1
    Path(target).write_text(as_svg(title[0] if title else "A training job", found), encoding="utf-8")
    return 0


def _label(x: float, y: float, text: str) -> Iterator[str]:
    yield f"<text x='{x}' y='{y}' text-anchor='end'>{text}</text>"


def time_of(line: Mapping[str, Any]) -> float:
    return float(line["time"]) if "time" in line else line["_aws"]["Timestamp"] / 1000


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
