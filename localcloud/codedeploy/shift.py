"""How fast traffic goes from one version to the next. Pure.

https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html#deployment-configurations-predefined-lambda
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "CodeDeployDefault."
_CANARY = tuple((f"LambdaCanary10Percent{minutes}Minutes", minutes) for minutes in (5, 10, 15, 30))
_LINEAR = (
    ("LambdaLinear10PercentEvery1Minute", 1),
    *((f"LambdaLinear10PercentEvery{minutes}Minutes", minutes) for minutes in (2, 3, 10)),
)
_AT_ONCE = "LambdaAllAtOnce"
_PERCENT = 10
NAMES = tuple(f"{PREFIX}{name}" for name in (_AT_ONCE, *(name for name, _ in (*_CANARY, *_LINEAR))))


@dataclass(frozen=True, slots=True)
class Step:
    """`percent` of the requests go to the new version for `minutes`."""

    percent: int
    minutes: int


def steps(config: str) -> tuple[Step, ...]:
    """What comes before all requests go to the new version, in order.

    Args:
        config: one of `NAMES`.
    """
    name = config.removeprefix(PREFIX)
    for known, minutes in _CANARY:
        if name == known:
            return (Step(_PERCENT, minutes),)
    for known, minutes in _LINEAR:
        if name == known:
            return tuple(Step(percent, minutes) for percent in range(_PERCENT, 100, _PERCENT))
    if name == _AT_ONCE:
        return ()
    raise KeyError(config)


def routing(config: str) -> dict[str, object]:
    """The configuration as GetDeploymentConfig tells it."""
    (first, *_) = (*steps(config), None)
    if first is None:
        return {"type": "AllAtOnce"}
    kind = "Canary" if re.search("Canary", config) else "Linear"
    return {
        "type": f"TimeBased{kind}",
        f"timeBased{kind}": {
            f"{kind.lower()}Percentage": first.percent,
            f"{kind.lower()}Interval": first.minutes,
        },
    }
