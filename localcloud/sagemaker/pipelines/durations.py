"""Durations of a cache policy: ISO 8601 ("P30D", "PT1H") and AWS's short form ("30d", "T16m", "30dT5h").

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching-enabling.html.
"""

import re

_DAY = 86_400.0
_DATE = {"Y": 365 * _DAY, "M": 30 * _DAY, "W": 7 * _DAY, "D": _DAY}
_TIME = {"H": 3600.0, "M": 60.0, "S": 1.0}
_PART = re.compile(r"(\d+)([A-Z])")


def seconds(text: str) -> float:
    """The length of a duration in seconds; a month counts 30 days, a year 365.

    Example: `seconds("P1DT2H")` and `seconds("1dT2h")` are both 93600.0.

    Raises:
        ValueError: the text is no such duration.
    """
    date, separator, time = text.upper().removeprefix("P").partition("T")
    if not (date or time) or (separator and not time):
        raise ValueError(_problem(text))
    return _sum(date, _DATE, text) + _sum(time, _TIME, text)


def _sum(part: str, units: dict[str, float], text: str) -> float:
    total, rest = 0.0, part
    while rest:
        match = _PART.match(rest)
        if match is None or match[2] not in units:
            raise ValueError(_problem(text))
        total += int(match[1]) * units[match[2]]
        rest = rest[match.end() :]
    return total


def _problem(text: str) -> str:
    return f"{text!r} is no ISO 8601 duration: write P30D, PT12H or 30d"
