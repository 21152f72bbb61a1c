"""Schedules of scheduled actions."""
# ruff: noqa: E501

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.autoscaling.rules.schedule import Cron, ScheduleError, parse


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def times(expression: str, after: str, count: int = 3, zone: str | None = None) -> list[str]:
    schedule, moment = parse(expression, zone, at(after)), at(after)
    found = []
    for _ in range(count):
        following = schedule.next_after(moment)
        if following is None:
            break
        moment = following
        found.append(datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("at(2030-05-01T08:00:00)", "2030-01-01", ["2030-05-01 08:00"]),
        ("at(2030-05-01T08:00:00)", "2030-05-01T08:00:00", []),
        ("rate(5 minutes)", "2030-01-01", ["2030-01-01 00:05", "2030-01-01 00:10", "2030-01-01 00:15"]),
        ("rate(1 day)", "2030-01-01", ["2030-01-02 00:00", "2030-01-03 00:00", "2030-01-04 00:00"]),
        ("cron(0 8 ? * MON-FRI *)", "2030-01-04T09:00", ["2030-01-07 08:00", "2030-01-08 08:00", "2030-01-09 08:00"]),
        ("cron(0/20 12 * * ? *)", "2030-01-01", ["2030-01-01 12:00", "2030-01-01 12:20", "2030-01-01 12:40"]),
        ("cron(15 10 ? * 6L 2030-2031)", "2030-01-01", ["2030-01-25 10:15", "2030-02-22 10:15", "2030-03-29 10:15"]),
        ("cron(0 9 ? * MON#1 *)", "2030-01-01", ["2030-01-07 09:00", "2030-02-04 09:00", "2030-03-04 09:00"]),
        ("cron(0 0 L * ? *)", "2028-01-30", ["2028-01-31 00:00", "2028-02-29 00:00", "2028-03-31 00:00"]),
        ("cron(0 0 1W 6 ? *)", "2030-01-01", ["2030-06-03 00:00", "2031-06-02 00:00", "2032-06-01 00:00"]),
        ("cron(0 0 31 2 ? *)", "2030-01-01", []),
        ("cron(0 0 29 FEB ? *)", "2030-01-01", ["2032-02-29 00:00", "2036-02-29 00:00", "2040-02-29 00:00"]),
        ("cron(0 0 1 1 ? 2029)", "2030-01-01", []),
    ],
)  # fmt: skip
def test_times(expression: str, after: str, expected: list[str]) -> None:
    assert times(expression, after) == expected


def test_time_zones_and_their_clock_changes() -> None:
    assert times("cron(30 8 * * ? *)", "2030-03-30", 3, "Europe/Berlin") == [
        "2030-03-30 07:30",
        "2030-03-31 06:30",
        "2030-04-01 06:30",
    ]
    # 02:30 does not exist on 2030-03-31, and comes twice on 2030-10-27.
    assert times("cron(30 2 * * ? *)", "2030-03-30", 2, "Europe/Berlin") == ["2030-03-30 01:30", "2030-04-01 00:30"]  # fmt: skip
    assert times("cron(30 2 * * ? *)", "2030-10-27", 2, "Europe/Berlin") == ["2030-10-27 00:30", "2030-10-28 01:30"]  # fmt: skip
    assert times("at(2030-07-01T08:00:00)", "2030-01-01", 1, "America/New_York") == ["2030-07-01 12:00"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("every day", "neither at"),
        ("at(2030-05-01)", "yyyy-mm-dd"),
        ("rate(1 minutes)", "a rate is"),
        ("rate(5 minute)", "a rate is"),
        ("rate(0 minutes)", "a rate is"),
        ("cron(0 8 * * *)", "six fields"),
        ("cron(0 8 * * * *)", "must be `?`"),
        ("cron(60 8 * * ? *)", "'60' is not from 0 to 59"),
        ("cron(0 8 ? * FUN *)", "'FUN'"),
        ("cron(0 20-8 * * ? *)", "ends before"),
        ("cron(0/0 8 * * ? *)", "no step"),
    ],
)
def test_wrong_expressions(expression: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words.replace("?", r"\?")):
        parse(expression, None, 0.0)


def test_unknown_time_zone() -> None:
    with pytest.raises(ScheduleError, match="IANA"):
        parse("cron(0 8 * * ? *)", "Mars/Olympus", 0.0)


@given(
    st.integers(0, 59), st.integers(0, 23), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1)),
)  # fmt: skip
def test_daily_times_are_after_and_by_the_local_clock(
    minute: int, hour: int, zone: str, moment: datetime
) -> None:
    after = moment.replace(tzinfo=UTC).timestamp()
    schedule = parse(f"cron({minute} {hour} * * ? *)", zone, 0.0)
    assert isinstance(schedule, Cron)
    following = schedule.next_after(after)
    assert following is not None
    assert after < following <= after + timedelta(days=2, hours=2).total_seconds()
    local = datetime.fromtimestamp(following, ZoneInfo(zone))
    assert (local.hour, local.minute, local.second) == (hour, minute, 0)
