"""What a tuning job does next. Pure: no clock, no threads, no store.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-progress.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from localcloud.sagemaker.jobs.tuning.early_stopping import is_worse_than_median
from localcloud.sagemaker.jobs.tuning.search import Search, Values

ATTEMPTS = 5  # training jobs without one objective, after which AWS gives up
_IMPROVEMENT = (
    0.01  # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BestObjectiveNotImproving.html
)
_CONVERGED = (
    10  # AWS keeps its criteria for convergence to itself; this many jobs without improvement is ours
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a tuning job.

    Args:
        jobs, parallel: MaxNumberOfTrainingJobs and MaxParallelTrainingJobs.
        maximize: whether larger objectives are better.
        stop_early: TrainingJobEarlyStoppingType Auto.
        target: TargetObjectiveMetricValue.
        not_improving: MaxNumberOfTrainingJobsNotImproving.
        on_convergence: CompleteOnConvergence.
    """

    jobs: int
    parallel: int
    maximize: bool
    stop_early: bool = False
    target: float | None = None
    not_improving: int | None = None
    on_convergence: bool = False


@dataclass(slots=True, kw_only=True)
class Trial:
    """A training job of the tuning job: what it was given, and what it has emitted so far."""

    name: str
    definition: int
    number: int
    objectives: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A configuration to try: of which definition, under which number of its search."""

    definition: int
    number: int
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a tuning job ends."""

    status: Literal["Completed", "Failed", "Stopped"]
    reason: str | None = None


class Halt(StrEnum):
    """Why no more training jobs are started."""

    STOPPED = "stopped"
    RUNTIME = "runtime"
    CRITERIA = "criteria"


class Plan:
    """Decides about the training jobs of one tuning job.

    The definitions take turns, so that each gets its share of the training jobs.

    Example:
        >>> plan = Plan(Limits(jobs=1, parallel=1, maximize=True), [search])
        >>> plan.launched("job-1", plan.propose())
        >>> plan.ended("job-1", 0.5, completed=True)
        True
        >>> plan.verdict()
        Verdict(status='Completed', reason=None)
    """

    def __init__(self, limits: Limits, searches: Sequence[Search]) -> None:
        self._limits = limits
        self._searches = dict(enumerate(searches))
        self._left = list(self._searches)
        self._running: dict[str, Trial] = {}
        self._histories: list[list[list[float]]] = [[] for _ in searches]
        self._halt: Halt | None = None
        self._count = self._succeeded = self._completed = self._ended = 0
        self.best: float | None = None
        self.not_improving = 0

    @property
    def running(self) -> list[str]:
        """The names of the training jobs that have not ended."""
        return list(self._running)

    @property
    def converged(self) -> bool:
        """Whether the objective has ceased to improve."""
        return self.not_improving >= _CONVERGED

    @property
    def halted(self) -> Halt | None:
        """Why nothing more is started; what runs is to be stopped then."""
        return self._halt

    def propose(self) -> Proposal | None:
        """The next configuration, None while nothing may be started. It counts once `launched` is called."""
        limits = self._limits
        full = self._count >= limits.jobs or len(self._running) >= limits.parallel
        if self._halt or full or self._hopeless:
            return None
        while self._left:
            definition = self._left.pop(0)
            suggestion = self._searches[definition].suggest()
            if suggestion is not None:
                self._left.append(definition)
                return Proposal(definition=definition, number=suggestion[0], values=suggestion[1])
        return None

    def launched(self, name: str, proposal: Proposal) -> None:
        """A training job was started for a proposal."""
        self._count += 1
        self._running[name] = Trial(name=name, definition=proposal.definition, number=proposal.number)

    def emitted(self, name: str, value: float) -> bool:
        """A running job has emitted its objective; True if it is to be stopped."""
        trial = self._running.get(name)
        if trial is None:
            return False
        trial.objectives.append(value)
        search = self._searches[trial.definition]
        if search.report(trial.number, len(trial.objectives), value):
            return True
        return self._limits.stop_early and is_worse_than_median(
            trial.objectives, self._histories[trial.definition], maximize=self._limits.maximize
        )

    def ended(self, name: str, value: float | None, *, completed: bool) -> bool:
        """A training job has ended.

        Args:
            value: its final objective, None if it emitted none or failed.
            completed: whether it came to its own end.

        Returns:
            Whether the objective counts; that of a job which a user's stop cut off does not.
        """
        trial = self._running.pop(name)
        counts = value is not None and (completed or self._halt is not Halt.STOPPED)
        self._ended += 1
        self._completed += completed
        self._searches[trial.definition].tell(trial.number, value if counts else None)
        if value is None or not counts:
            return False
        self._succeeded += 1
        if completed and trial.objectives:
            self._histories[trial.definition].append(trial.objectives)
        self._judge(value)
        return True

    def halt(self, why: Halt) -> None:
        """Start nothing more; the first reason holds, but that of a user is above all others."""
        if self._halt is None or why is Halt.STOPPED:
            self._halt = why

    def verdict(self) -> Verdict | None:
        """How the tuning job ends, None while it goes on. Ask when `propose` has nothing to start."""
        if self._running:
            return None
        if self._halt is Halt.STOPPED:
            return Verdict(status="Stopped")
        if self._succeeded:
            return Verdict(status="Completed")
        return Verdict(status="Failed", reason=self._failure())

    @property
    def _hopeless(self) -> bool:
        # What still runs may prove the opposite: then there is hope again.
        return not self._succeeded and self._ended >= ATTEMPTS

    def _judge(self, value: float) -> None:
        limits = self._limits
        gain = math.inf if self.best is None else (value - self.best) * (1 if limits.maximize else -1)
        improved = gain > 0 and gain >= _IMPROVEMENT * abs(self.best or 0.0)
        self.not_improving = 0 if improved else self.not_improving + 1
        if gain > 0:
            self.best = value
        target = limits.target
        reached = target is not None and (value >= target if limits.maximize else value <= target)
        tired = limits.not_improving is not None and self.not_improving >= limits.not_improving
        if reached or tired or (limits.on_convergence and self.converged):
            self.halt(Halt.CRITERIA)

    def _failure(self) -> str:
        if self._halt is Halt.RUNTIME and not self._completed:
            return "No training job emitted an objective metric within the tuning job's MaxRuntimeInSeconds."
        if self._completed:
            return (
                f"No objective metrics found after running {self._ended} training jobs. Please ensure that "
                "the custom algorithm is emitting the objective metric as defined by the regular expression "
                "provided."
            )
        details = "Please take a look at the training job failures to get more details."
        if self._hopeless:
            return f"No training job succeeded after {self._ended} attempts. {details}"
        return f"All training jobs failed. {details}"
