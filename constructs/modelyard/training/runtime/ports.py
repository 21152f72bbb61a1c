"""What an attempt needs of the world; AWS behind it, or a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from .admission import Store
from .attempt import Attempt
from .attempts import Cause
from .job import Checkpoint, Job


class Phase(StrEnum):
    """Where a task is."""

    COMING = "coming"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One host of a gang, or a single host.

    Args:
        arn: Of the task; of a single host, of the execution that has it.
        phase: Where it is.
        cause: Why it ended: `FAILED` by itself, `INTERRUPTED` by others.
        done: Whether its program ended without error.
        reason: Of its end, in words.
        connected: Whether ECS hears the agent of its host.
    """

    arn: str
    phase: Phase
    connected: bool = True
    cause: Cause = Cause.INTERRUPTED
    done: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The tasks that were started, and what was said of those that were not."""

    tasks: tuple[str, ...]
    failures: tuple[str, ...] = ()


class Outcome(StrEnum):
    """How training ended, as the trainer says."""

    FINISHED = "finished"
    FAILED = "failed"
    REFUSED = "refused"  # by a mistake in what it was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a job made, as its trainer tells of it.

    Args:
        name: `best` or `last`.
        archive: Below the job's output.
        metrics: Likewise, a document.
        figures: For people who browse the registry.
    """

    name: str
    archive: str
    metrics: str
    figures: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The last words of a job's trainer; `training.vision.job_record` writes them."""

    attempt: int
    step: int = 0
    images_per_second: float | None = None
    checkpoint: Checkpoint | None = None
    outcome: Outcome | None = None
    reason: str = ""
    models: tuple[Model, ...] = ()


class Jobs(Protocol):
    """The records of jobs."""

    def read(self, name: str) -> Job | None:
        """The record as it is now, read consistently."""

    def create(self, job: Job) -> bool:
        """Write a new record; False where the name is taken."""

    def change(self, name: str, change: Callable[[Job], Job]) -> Job:
        """Read, change, write; from the start again when somebody wrote in between.

        Raises:
            MissingError: there is no such job.
            ContentionError: others kept changing it.
        """

    def open(self) -> Iterable[str]:
        """Names of the jobs that have not ended; may lag behind by seconds."""

    def report(self, name: str) -> Report | None:
        """What the job's trainer said last, read consistently."""


class Hosts(Protocol):
    """Hosts of gangs, each a task, and single hosts, each an execution; "tasks" are ARNs of both."""

    def run(
        self,
        attempt: str,
        count: int,
        environment: Mapping[str, str],
        *,
        provider: int,
        token: str,
        alone: bool = False,
    ) -> Started:
        """Start tasks; a second time with the same token returns the same ones.

        `alone`: on a host that is started for it, and not on the cluster.

        Raises:
            RefusedError: the request itself is wrong, and would be so again.
        """

    def look(self, tasks: Iterable[str]) -> tuple[Task, ...]:
        """Where tasks are; one that nobody knows any more has ended."""

    def stop(self, attempt: str, tasks: Iterable[str], reason: str) -> tuple[str, ...]:
        """Stop these and all other tasks of an attempt; those that have not ended yet."""

    def evict(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Take away the hosts of these, which obey no more; the tasks whose hosts are gone. Twice does no
        harm."""

    def let_go(self, tasks: Iterable[str], reason: str) -> None:
        """Stop these, and no others of their attempt."""

    def attempts(self) -> frozenset[str]:
        """Whose tasks have not ended."""

    def drain(self, instance: str, reason: str) -> int:
        """Stop the tasks on an instance; how many there were."""


class Executions(Protocol):
    """Executions of the state machine."""

    def start(self, attempt: Attempt) -> None:
        """Start one; nothing where one of its name was started before."""

    def status(self, attempt: Attempt) -> str | None:
        """Of the attempt's last part, for example `RUNNING`; None where there is none."""


class Registry(Protocol):
    """Groups of model packages."""

    def register(self, package: Mapping[str, Any]) -> str:
        """Add a version, `CreateModelPackage`; its ARN. Twice with one token adds one.

        Raises:
            RefusedError: the request itself is wrong, and would be so again.
        """


class Notice(StrEnum):
    """What happened to an attempt that somebody may want to look at."""

    UNPLACED = "attempt got no hosts"  # its value: how many in a row
    STALLED = "attempt stalled"
    EVICTED = "hosts taken away"  # its value: how many
    STUCK = "hosts not taken away"  # likewise; they block their job, and its slots


class Listener(Protocol):
    """Whoever wants to know of ends, and of what may need somebody before."""

    def ended(self, job: Job) -> None:
        """A job completed, failed or was cancelled; of one end it may hear twice."""

    def noticed(self, what: Notice, attempt: str, value: int, reason: str) -> None:
        """Something happened to an attempt; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All of it; `registry` is None where no group is to be written to."""

    jobs: Jobs
    capacity: Store
    hosts: Hosts
    executions: Executions
    listener: Listener
    clock: Callable[[], float]
    chance: Callable[[], float]
    registry: Registry | None = None
