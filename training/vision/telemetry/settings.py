"""What the environment says of a job, for its telemetry."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from training.common.failure import UserError

STDOUT, OFF = "stdout", "off"
_LONGEST = 255  # of a dimension's value CloudWatch takes 1,024 characters; no name here is as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The variables that set these members, and what holds without them:

    cluster: TRAINING_CLUSTER, `default`; alarms watch all its jobs together.
    job: JOB_NAME, or SageMaker's TRAINING_JOB_NAME, or `local`.
    attempt: ATTEMPT, 1.
    began: ATTEMPT_STARTED, epoch seconds from when on the hosts are paid for this attempt; None: since this
        process started. Whoever starts processes again within an attempt must set it.
    before: PAID_NODE_SECONDS that the attempts before this one were paid for; None: not known.
    price: PRICE_PER_HOST_HOUR, 0; in any currency.
    target: TELEMETRY, where lines of metrics go: `stdout`, `off`, or a folder, in which each rank has a file.
        Without it standard output where TRAINING_CLUSTER is given and that is no terminal: CloudWatch bills
        each metric, so that a job which nobody watches tells none.
    seconds: TELEMETRY_SECONDS between two lines, 10.
    project: WANDB_PROJECT of Weights & Biases; nothing: not there. Its own variables hold for the rest.
    """

    cluster: str = "default"
    job: str = "local"
    attempt: int = 1
    began: float | None = None
    before: float | None = None
    price: float = 0.0
    target: str = OFF
    seconds: float = 10.0
    project: str = ""

    def __post_init__(self) -> None:
        for name, value in (("TRAINING_CLUSTER", self.cluster), ("JOB_NAME", self.job)):
            if not 0 < len(value) <= _LONGEST or not (value.isascii() and value.isprintable()):
                raise UserError(f"{name} must be 1 to {_LONGEST} printable ASCII characters, got {value!r}")
        for name, number in (("PRICE_PER_HOST_HOUR", self.price), ("PAID_NODE_SECONDS", self.before or 0)):
            if not 0 <= number < math.inf:
                raise UserError(f"{name} must not be negative, got {number}")
        if not 0 < self.seconds < math.inf:
            raise UserError(f"TELEMETRY_SECONDS must be above 0, got {self.seconds}")
        if self.attempt < 1:
            raise UserError(f"ATTEMPT must be at least 1, got {self.attempt}")


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """From the environment of this process, or the one given.

    Raises:
        UserError: a variable is no number, or out of its range.
    """
    given = os.environ if environment is None else environment
    terminal = environment is None and sys.stdout.isatty()
    default = STDOUT if given.get("TRAINING_CLUSTER") and not terminal else OFF
    return Settings(
        cluster=given.get("TRAINING_CLUSTER") or "default",
        job=given.get("JOB_NAME") or given.get("TRAINING_JOB_NAME") or "local",
        attempt=1 if (attempt := _number(given, "ATTEMPT")) is None else int(attempt),
        began=_number(given, "ATTEMPT_STARTED"),
        before=_number(given, "PAID_NODE_SECONDS"),
        price=_number(given, "PRICE_PER_HOST_HOUR") or 0.0,
        target=given.get("TELEMETRY") or default,
        seconds=10.0 if (seconds := _number(given, "TELEMETRY_SECONDS")) is None else seconds,
        project=given.get("WANDB_PROJECT", ""),
    )


def _number(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name} must be a number, got {text!r}")
    return number
