"""Traffic, minute by minute: from a CSV file, or made up from a seed."""

from __future__ import annotations

import csv
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from modelyard_cli.errors import CliError

MINUTE = 60
DAY = 24 * 60
_COLUMNS = ("invocations", "invocations_per_minute")
_LONGEST = 366 * DAY
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


class Shape(StrEnum):
    """What made-up traffic looks like."""

    DIURNAL = "diurnal"
    SPIKY = "spiky"
    GROWING = "growing"


class Gaps(StrEnum):
    """What minutes without a row mean."""

    ERROR = "error"
    ZERO = "zero"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Trace:
    """Invocations of each minute.

    Args:
        name: for people.
        start: of the first minute, in epoch seconds.
        loads: None where there is no datapoint, which serves as no load and scales nothing in.
    """

    name: str
    start: float
    loads: tuple[float | None, ...]

    @property
    def mean(self) -> float:
        """Invocations per minute."""
        return math.fsum(load or 0.0 for load in self.loads) / len(self.loads)

    @property
    def peak(self) -> float:
        """Most invocations of a minute."""
        return max(load or 0.0 for load in self.loads)


def read(path: Path, gaps: Gaps = Gaps.ERROR) -> Trace:
    """Read a CSV file with the columns `timestamp` and `invocations` (per minute), one row a minute.

    Timestamps are ISO 8601 (UTC where they name no zone) or epoch seconds.

    Raises:
        CliError: not such a file; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            column = _column(path, rows.fieldnames or ())
            return _trace(path, rows, column, gaps)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CliError(f"{path}: cannot be read as CSV ({error})") from error


def _column(path: Path, names: object) -> str:
    found = [str(name) for name in names] if isinstance(names, list | tuple) else []
    column = next((name for name in _COLUMNS if name in found), None)
    if not found:
        raise CliError(f"{path}: the file is empty; its first line is timestamp,invocations")
    if "timestamp" not in found or column is None:
        missing = "timestamp" if "timestamp" not in found else "invocations"
        raise CliError(f"{path}: there is no column {missing}; the first line has {', '.join(found)}")
    return column


def _trace(path: Path, rows: csv.DictReader[str], column: str, gaps: Gaps) -> Trace:
    start, last = 0.0, 0.0
    loads: list[float | None] = []
    for row in rows:
        where = f"{path} line {rows.line_num}"
        moment, load = _moment(where, row["timestamp"]), _load(where, row[column])
        if moment % MINUTE:
            raise CliError(f"{where}: {row['timestamp']} is not a full minute; give one row a minute")
        if not loads:
            start = moment
        elif moment <= last:
            raise CliError(f"{where}: {row['timestamp']} does not come after the line before it")
        elif missing := int(moment - last) // MINUTE - 1:
            if gaps is Gaps.ERROR:
                raise CliError(
                    f"{where}: {missing} minutes are missing before {row['timestamp']}; "
                    "--gaps zero takes them for no requests, --gaps missing for no data"
                )
            loads += [0.0 if gaps is Gaps.ZERO else None] * min(missing, _LONGEST)
        loads.append(load)
        last = moment
        if len(loads) > _LONGEST:
            raise CliError(f"{where}: more than {_LONGEST // DAY} days")
    if not loads:
        raise CliError(f"{path}: there are no rows")
    return Trace(path.name, start, tuple(loads))


def _moment(where: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        raise CliError(f"{where}: {text or 'nothing'} is no timestamp; give 2026-01-05T08:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _load(where: str, text: str | None) -> float:
    try:
        load = float(text or "")
    except ValueError:
        raise CliError(f"{where}: {text or 'nothing'} is no number of invocations") from None
    if not 0 <= load < math.inf:
        raise CliError(f"{where}: {text} invocations; a minute has 0 or more")
    return load


def generate(shape: Shape, *, days: int, peak: float, seed: int) -> Trace:
    """Make up traffic that begins on a Monday at 00:00 UTC.

    Args:
        shape: `diurnal`: busy by day, half as much at weekends; `spiky`: low, with bursts of 5 to 40 minutes
            up to the peak, about four a day; `growing`: diurnal, from a fifth of the peak to all of it.
        peak: about the most invocations of a minute.
    """
    dice = random.Random(seed)  # noqa: S311 - traffic, not secrets
    total = days * DAY
    shares = _spiky(dice, total) if shape is Shape.SPIKY else [_daily(shape, m, total) for m in range(total)]
    loads = tuple(float(round(peak * share * dice.uniform(0.92, 1.08))) for share in shares)
    return Trace(f"{shape.value}, {days} days, seed {seed}", _MONDAY.timestamp(), loads)


def _daily(shape: Shape, minute: int, total: int) -> float:
    """Share of the peak in a minute, by the time of the day and the day of the week."""
    hour = minute % DAY / 60
    by_day = 0.1 + 0.9 * max(0.0, math.sin(math.pi * (hour - 6) / 15)) if 6 <= hour <= 21 else 0.1
    weekend = (_MONDAY + timedelta(minutes=minute)).weekday() >= 5
    growth = 0.2 + 0.8 * minute / total if shape is Shape.GROWING else 1.0
    return by_day * growth * (0.5 if weekend else 1.0)


def _spiky(dice: random.Random, total: int) -> list[float]:
    shares = [0.08] * total
    minute = 0
    while True:
        minute += int(dice.expovariate(1 / 360)) + 1
        if minute >= total:
            return shares
        height, end = dice.uniform(0.4, 1.0), min(total, minute + dice.randint(5, 40))
        for busy in range(minute, end):
            shares[busy] = max(shares[busy], height)
