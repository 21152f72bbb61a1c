"""What an attempt's state machine carries from one state to the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from .attempts import Cause

_ID = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}/[1-9][0-9]*")


class Step(StrEnum):
    """What to do next; the state machine has a state for each."""

    ADMIT = "admit"
    LAUNCH = "launch"
    WATCH = "watch"
    STOP = "stop"
    FINISH = "finish"
    REGISTER = "register"
    OVER = "over"  # ended, or handed over to another execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a job, as far as its executions have come.

    Args:
        job: Name.
        number: From 1.
        part: Of the executions of this attempt, from 1.
        rounds: Steps of this execution.
        next: What to do.
        wait: Seconds until then.
        began: When it first asked for slots (epoch seconds); 0 before that.
        launched: When its hosts were asked for.
        replaced: When hosts were last asked for.
        tasks: ARNs of the tasks that were not seen ended.
        training: Those of them that ran when last looked at; before all did, those that came.
        provider: Capacity provider that was asked for all its hosts; counts on beyond the last.
        elsewhere: How often hosts asked for again did not come; then another one in that zone is asked.
        progress: What was last seen of the trainer's: step, checkpoint, hosts.
        moved: When that was new.
        silent: ARNs of tasks whose host ECS does not hear, and since when.
        stopping: When its hosts were first told to end; 0 before that.
        evicted: ARNs of tasks whose hosts were taken away, so that nobody waits for them.
        stuck: ARNs of tasks whose hosts could not be, which was told.
        cause: Why it ends; empty while it goes on.
        reason: Likewise, in words.
    """

    job: str
    number: int
    part: int = 1
    rounds: int = 0
    next: Step = Step.ADMIT
    wait: int = 0
    began: float = 0.0
    launched: float = 0.0
    replaced: float = 0.0
    tasks: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    provider: int = 0
    elsewhere: int = 0
    progress: str = ""
    moved: float = 0.0
    silent: Mapping[str, float] = field(default_factory=dict)
    stopping: float = 0.0
    evicted: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    cause: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """Under which it holds slots and its tasks are started."""
        return f"{self.job}/{self.number}"

    @property
    def execution(self) -> str:
        """Name of the execution; names of jobs hold no `_`, so no two attempts share one."""
        return f"{self.job}_{self.number}" + (f"_{self.part}" if self.part > 1 else "")

    def ending(self, cause: Cause, reason: str) -> Attempt:
        """The attempt with its end ahead."""
        return replace(self, next=Step.STOP, wait=0, cause=cause.value, reason=reason)

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def is_id(text: str) -> bool:
    """Whether it is the `id` of an attempt, by its form.

    Example:
        >>> is_id("dogs-1/2"), is_id("somebody")
        (True, False)
    """
    return _ID.fullmatch(text) is not None


def from_document(document: Mapping[str, Any]) -> Attempt:
    """Reverse of `to_document`; where a state failed, its error is the reason of the end.

    Example:
        >>> from_document({"job": "dogs-1", "number": 2}).execution
        'dogs-1_2'
    """
    members = {name: document[name] for name in Attempt.__dataclass_fields__ if name in document}
    for name in ("tasks", "training", "evicted", "stuck"):
        members[name] = tuple(members.get(name, ()))
    attempt = Attempt(**{**members, "next": Step(members.get("next", Step.ADMIT))})
    error = document.get("error")
    if error and not attempt.cause:
        told = f"{error.get('Error', '')}: {error.get('Cause', '')}"
        return attempt.ending(Cause.INTERRUPTED, f"the attempt's control failed: {told[:300]}")
    return attempt
