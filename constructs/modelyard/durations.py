"""Lengths of time that stand in many places: each that is made anew is one more round trip to Node."""

from __future__ import annotations

import functools

from aws_cdk import Duration


@functools.cache
def minutes(amount: int) -> Duration:
    """So many minutes, made once.

    Example:
        >>> metric = function.metric_errors(period=minutes(1))
    """
    return Duration.minutes(amount)


@functools.cache
def seconds(amount: int) -> Duration:
    """So many seconds, likewise."""
    return Duration.seconds(amount)
