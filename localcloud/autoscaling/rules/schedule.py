"""When a schedule fires: `at(...)`, `rate(...)` and `cron(...)`.

https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_HORIZON_DAYS = 366 * 8  # a leap day at most eight years away; what fires later is as good as never
DayTest = Callable[[date], bool]


class ScheduleError(Exception):
    """The expression or the time zone is wrong; the message says how."""


@dataclass(frozen=True, slots=True)
class At:
    """Once, in epoch seconds."""

    moment: float

    def next_after(self, moment: float) -> float | None:
        """The next time it fires."""
        return self.moment if self.moment > moment else None


@dataclass(frozen=True, slots=True)
class Rate:
    """Every `seconds`, for the first time that long after `start`."""

    seconds: int
    start: float

    def next_after(self, moment: float) -> float | None:
        """The next time it fires."""
        passed = max(1, int((moment - self.start) // self.seconds) + 1)
        return self.start + passed * self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """By the clock of a time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    day: DayTest
    months: frozenset[int]
    years: frozenset[int]
    zone: ZoneInfo

    def next_after(self, moment: float) -> float | None:
        """The next time it fires: not at local times that the clock skips, once at those that it repeats."""
        first = datetime.fromtimestamp(moment, self.zone).date()
        for offset in range(_HORIZON_DAYS):
            day = first + timedelta(days=offset)
            if day.year not in self.years or day.month not in self.months or not self.day(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    local = datetime.combine(day, time(hour, minute), self.zone)
                    when = local.timestamp()
                    real = datetime.fromtimestamp(when, self.zone)
                    if when > moment and (real.hour, real.minute) == (hour, minute):
                        return when
        return None


Schedule = At | Rate | Cron


def parse(expression: str, zone: str | None, start: float) -> Schedule:
    """Read an expression.

    Args:
        expression: for example `cron(0 8 ? * MON-FRI *)`.
        zone: an IANA name; UTC if None. `rate` has no use for it.
        start: from when a rate counts, in epoch seconds.

    Raises:
        ScheduleError: it is none.

    Example:
        >>> parse("at(2030-01-01T00:00:00)", "Europe/Berlin", 0.0).next_after(0.0)
        1893452400.0
    """
    found = re.fullmatch(r"(at|rate|cron)\((.*)\)", expression.strip())
    if found is None:
        raise ScheduleError(f"{expression!r} is neither at(...), rate(...) nor cron(...).")
    where = _zone(zone)
    kind, body = found.groups()
    if kind == "at":
        try:
            moment = datetime.strptime(body, "%Y-%m-%dT%H:%M:%S")
        except ValueError:
            raise ScheduleError(f"{expression!r}: a time is yyyy-mm-ddThh:mm:ss.") from None
        return At(moment.replace(tzinfo=where).timestamp())
    return _rate(expression, body, start) if kind == "rate" else _cron(expression, body, where)


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"There is no time zone {name!r}; give an IANA name such as Etc/UTC.") from None


def _rate(expression: str, body: str, start: float) -> Rate:
    found = re.fullmatch(r"([1-9]\d*) (minute|hour|day)(s?)", body)
    if found is None or (found[1] == "1") == bool(found[3]):
        raise ScheduleError(f"{expression!r}: a rate is rate(VALUE minutes|hours|days), or rate(1 minute).")
    return Rate(int(found[1]) * _UNITS[found[2]], start)


def _cron(expression: str, body: str, zone: ZoneInfo) -> Cron:
    fields = body.split()
    if len(fields) != 6:
        raise ScheduleError(
            f"{expression!r}: cron takes six fields, minutes hours day-of-month month day-of-week year, "
            f"and this has {len(fields)}."
        )
    minutes, hours, month_day, months, week_day, years = fields
    if (month_day == "?") == (week_day == "?"):
        raise ScheduleError(
            f"{expression!r}: one of day-of-month and day-of-week must be `?`, the other not."
        )
    try:
        names = {name.upper(): number for name, number in _MONTHS.items()}
        return Cron(
            minutes=tuple(sorted(_numbers(minutes, 0, 59))),
            hours=tuple(sorted(_numbers(hours, 0, 23))),
            day=_month_day(month_day) if week_day == "?" else _week_day(week_day),
            months=_numbers(months, 1, 12, names),
            years=_numbers(years, _FIRST_YEAR, _LAST_YEAR),
            zone=zone,
        )
    except ValueError as error:
        raise ScheduleError(f"{expression!r}: {error}.") from None


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """The values of a field such as `*`, `1-5`, `0/15` or `MON,WED`."""

    def number(text: str) -> int:
        value = (names or {}).get(text.upper())
        value = int(text) if value is None and text.isdigit() else value
        if value is None or not low <= value <= high:
            raise ValueError(f"{text!r} is not from {low} to {high}")
        return value

    chosen: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not re.fullmatch(r"[1-9]\d*", step):
            raise ValueError(f"{part!r} has no step")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = number(first)
            end = number(last) if dash else high if step else start
        if end < start:
            raise ValueError(f"{part!r} ends before it begins")
        chosen.update(range(start, end + 1, int(step or 1)))
    return frozenset(chosen)


def _month_day(field: str) -> DayTest:
    if field == "L":
        return lambda day: day.day == calendar.monthrange(day.year, day.month)[1]
    if found := re.fullmatch(r"(\d{1,2})W", field):
        wanted = int(found[1])
        if not 1 <= wanted <= 31:
            raise ValueError(f"{field!r} is not from 1W to 31W")
        return lambda day: day == _nearest_weekday(day.year, day.month, wanted)
    numbers = _numbers(field, 1, 31)
    return lambda day: day.day in numbers


def _week_day(field: str) -> DayTest:
    if found := re.fullmatch(r"(\w+?)(L|#([1-5]))", field):
        (wanted,) = _numbers(found[1], 1, 7, _DAYS)
        nth = int(found[3] or 0)
        return lambda day: _number_of(day) == wanted and (_which(day) == nth if nth else _is_last(day))
    numbers = _numbers(field, 1, 7, _DAYS)
    return lambda day: _number_of(day) in numbers


def _number_of(day: date) -> int:
    """Sunday is 1, as in AWS's cron."""
    return day.isoweekday() % 7 + 1


def _which(day: date) -> int:
    return (day.day - 1) // 7 + 1


def _is_last(day: date) -> bool:
    return day.day + 7 > calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(year: int, month: int, wanted: int) -> date | None:
    last = calendar.monthrange(year, month)[1]
    if wanted > last:
        return None
    day = date(year, month, wanted)
    if day.weekday() == calendar.SATURDAY:
        return day - timedelta(days=1) if wanted > 1 else day + timedelta(days=2)
    if day.weekday() == calendar.SUNDAY:
        return day + timedelta(days=1) if wanted < last else day - timedelta(days=2)
    return day


def utc(moment: float) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
