"""What the trainer tells the job's record: how far it is, what it has saved, and how it ended.

The exit code cannot say it: a torchrun that was asked to stop exits 1, whatever its ranks did. So rank 0
writes one item of the jobs table, `report/<job>`, and whoever watches the job reads it. The item is the
trainer's alone, and the only one that its role may write:

    attempt            number of the attempt, from 1; a report of an older one is refused
    step               optimizer steps done
    at                 epoch seconds
    checkpoint_step,   of the newest checkpoint; absent before the first of the attempt
    checkpoint_key
    hosts, world,      that train now, and their processes; images_per_second, and the cost so far: by the
    images_per_second, trainer's own telemetry, absent before its first line
    cost
    outcome            `finished`, `failed`, or `refused`: failed by a mistake in what was asked for, which
                       ends the job; absent while it trains, and the last word when it is there
    reason             of `failed` and `refused`, one line
    models             of `finished`: what was delivered, as JSON

Every rank may hold a record; only rank 0 should report. Call `progress` every few seconds at most (each is a
write of DynamoDB), and `finished` before any rank exits: a host that is gone while nothing is told counts as
lost. After a SIGTERM there is no outcome to tell; the checkpoint is.

    JOB_TABLE=training-jobs JOB_NAME=dogs-1 ATTEMPT=2
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.common.failure import UserError

_REASON_CHARACTERS = 1000


# Which the first report of an attempt takes away, where it does not tell them anew.
_OF_AN_ATTEMPT = frozenset(
    {
        "checkpoint_step", "checkpoint_key", "outcome", "reason", "models",
        "hosts", "world", "images_per_second", "cost",
    }
)  # fmt: skip


class UntoldError(Exception):
    """DynamoDB did not take it; later it may."""


class OutdatedError(UserError):
    """The job goes on elsewhere, or has ended: this process is to stop and to save nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint: its step and its key in the bucket."""

    step: int
    key: str


class JobRecord:
    """The trainer's side of a job's record.

    Args:
        table: Name of the jobs table.
        job: Name of the job.
        attempt: Number of this attempt.
        client: A `dynamodb` client; one of the environment's by default.
        clock: Epoch seconds.

    Example:
        >>> record = from_environment(os.environ)
        >>> record.progress(1200, Saved(step=1200, key="dogs-1/checkpoints/step-00001200-3f.ckpt"))
        >>> record.finished(5000)
    """

    def __init__(
        self,
        table: str,
        job: str,
        attempt: int,
        *,
        client: Any = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table, self._job, self._attempt, self._clock = table, job, attempt, clock
        self._client = client or _dynamodb()

    def progress(self, step: int, saved: Saved | None = None, **figures: float | None) -> None:
        """It trains, and is at this step.

        Args:
            step: Optimizer steps done.
            saved: A checkpoint that is new since the last call, and completely stored.
            figures: `hosts`, `world`, `images_per_second`, `cost`; None for what is not known.

        Raises:
            OutdatedError: a later attempt has reported, or this one has told its end.
            UntoldError: DynamoDB cannot be reached, or refuses.
        """
        self._write(step, saved=saved, figures=figures)

    def finished(
        self, step: int, saved: Saved | None = None, models: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """It has trained all there was. Raises as `progress`; telling it again does no harm.

        Args:
            step, saved: As `progress`.
            models: That it delivered, each with `name`, `archive` and `metrics`, files below the job's
                output, and `figures`, texts by name.
        """
        self._write(step, saved=saved, models=models, outcome="finished")

    def failed(self, step: int | None, reason: str, *, refused: bool = False) -> None:
        """It cannot go on. Raises as `finished`.

        Args:
            step: Optimizer steps done; None: whoever says so does not know how far it was.
            reason: In one line.
            refused: By a mistake of whoever asked for the job: no attempt would fare better.
        """
        outcome = "refused" if refused else "failed"
        self._write(step, outcome=outcome, reason=" ".join(reason.split())[:_REASON_CHARACTERS])

    def _write(
        self,
        step: int | None,
        *,
        saved: Saved | None = None,
        figures: Mapping[str, float | None] | None = None,
        models: Sequence[Mapping[str, Any]] = (),
        outcome: str = "",
        reason: str = "",
    ) -> None:
        values: dict[str, Any] = {"attempt": {"N": str(self._attempt)}, "at": {"N": repr(self._clock())}}
        if step is not None:
            values["step"] = {"N": str(step)}
        for name, number in (figures or {}).items():
            if number is not None:
                # 38 digits are the most that DynamoDB keeps.
                values[name] = {"N": f"{number:.6g}"}
        if saved:
            values |= {"checkpoint_step": {"N": str(saved.step)}, "checkpoint_key": {"S": saved.key}}
        if models:
            values["models"] = {"S": json.dumps(list(models))}
        if outcome:
            values |= {"outcome": {"S": outcome}, "reason": {"S": reason}}
        # Most reports follow another of the same attempt; the first of one clears what the last one said.
        with _untold():
            goes_on = self._update(values, "attempt = :attempt AND attribute_not_exists(outcome)")
            if goes_on or self._update(
                {"step": {"N": "0"}, **values}, "attribute_not_exists(id) OR attempt < :attempt", clears=True
            ):
                return
            known = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)["Item"]
        if outcome and known["attempt"] == values["attempt"] and known["outcome"] == values["outcome"]:
            # The first answer was lost on its way.
            return
        raise OutdatedError(
            f"attempt {self._attempt} of job {self._job} is over: its record is at attempt "
            f"{known['attempt']['N']}{', which has ended' if 'outcome' in known else ''}"
        )

    @property
    def _key(self) -> dict[str, Any]:
        return {"id": {"S": f"report/{self._job}"}}

    def _update(self, values: Mapping[str, Any], condition: str, *, clears: bool = False) -> bool:
        changes = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        old = sorted(_OF_AN_ATTEMPT - values.keys()) if clears else []
        if old:
            changes += " REMOVE " + ", ".join(f"#{name}" for name in old)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression=changes,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in (*values, *old)},
                ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def from_environment(environment: Mapping[str, str] | None = None) -> JobRecord | None:
    """The record of the job that this process trains; None where there is no cluster, as on a laptop.

    Raises:
        UserError: JOB_TABLE is set and JOB_NAME or ATTEMPT is not as it should be.
    """
    environment = os.environ if environment is None else environment
    table = environment.get("JOB_TABLE")
    if not table:
        return None
    job, attempt = environment.get("JOB_NAME", ""), environment.get("ATTEMPT", "")
    if not job or not attempt.isdecimal() or int(attempt) < 1:
        raise UserError(
            f"JOB_TABLE is set, JOB_NAME is {job!r}, ATTEMPT is {attempt!r}: give a name and a number from 1"
        )
    return JobRecord(table, job, int(attempt))


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        yield  # a client that is not boto3's
        return
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise UntoldError(f"the job's record could not be written: {' '.join(str(error).split())}") from error


def _dynamodb() -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError:
        raise UserError("JOB_TABLE is set, and the package boto3 is missing; install it") from None
    # Telemetry's thread waits for it, and what it did not take is told again soon.
    config = Config(connect_timeout=5, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
    return boto3.client("dynamodb", config=config)
