"""One tuning job while it runs: the plan's decisions, carried out with ordinary training jobs."""

from __future__ import annotations

import queue
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.jobs.failure import MAX_REASON
from localcloud.sagemaker.jobs.operations import start_training
from localcloud.sagemaker.jobs.runner import Watch
from localcloud.sagemaker.jobs.tuning.checks import most_jobs, resource_of
from localcloud.sagemaker.jobs.tuning.definitions import definitions_of
from localcloud.sagemaker.jobs.tuning.plan import Halt, Limits, Plan, Proposal, Verdict
from localcloud.sagemaker.jobs.tuning.records import (
    KIND,
    STATUS,
    TRAINING,
    best_of,
    counters,
    has_overall_best,
    objective_of,
    parents_jobs,
    settle,
    summary,
    trial_members,
)
from localcloud.sagemaker.jobs.tuning.search import Search, make_search
from localcloud.sagemaker.service import Call
from localcloud.sagemaker.store import Document, now
from localcloud.sagemaker.tags import add_tags, remove_tags, tags_of

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMaker


@dataclass(frozen=True, slots=True)
class _Ended:
    job: str


@dataclass(frozen=True, slots=True)
class _Emitted:
    job: str
    value: float


class _Stop:
    """The user stops the tuning job."""


class _Abandon:
    """The cloud is closing."""


_Event = _Ended | _Emitted | _Stop | _Abandon


class TuningRun:
    """Runs the tuning job of a name; `run` returns when it has ended."""

    def __init__(self, sagemaker: SageMaker, name: str) -> None:
        self._sagemaker, self._store, self._name = sagemaker, sagemaker.store, name
        self._record = self._store.get(KIND, name)
        self._config: Document = self._record["HyperParameterTuningJobConfig"]
        self._definitions = definitions_of(self._record)
        self._watched = (
            self._config["Strategy"] == "Hyperband"
            or self._config.get("TrainingJobEarlyStoppingType") == "Auto"
        )
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._abandoned = False
        self._trials: dict[str, Document] = {}
        self._parents = parents_jobs(self._store, self._record)
        self._stopped: set[str] = set()
        self._refused: str | None = None

    def stop(self) -> None:
        """Ask for the end of the tuning job and of its training jobs."""
        self._events.put(_Stop())

    def abandon(self) -> None:
        """Write nothing any more."""
        self._abandoned = True
        self._events.put(_Abandon())

    def run(self) -> None:
        """Start training jobs and take in what they find, until there is a verdict."""
        plan = self._plan()
        limit = self._config["ResourceLimits"].get("MaxRuntimeInSeconds")
        deadline = None if limit is None else time.monotonic() + limit
        while not self._abandoned:
            self._launch_all(plan)
            if plan.halted:
                self._stop_trials(plan.running)
            if (verdict := plan.verdict()) is not None:
                self._end(verdict, plan)
                return
            try:
                self._handle(self._events.get(timeout=_left(deadline, plan)), plan)
            except queue.Empty:
                plan.halt(Halt.RUNTIME)

    def fail(self, reason: str) -> None:
        """End as Failed, because the tuning job itself cannot go on."""
        if not self._abandoned:
            self._stop_trials(list(self._trials))
            settle(self._store, self._name, reason)

    def _plan(self) -> Plan:
        config, criteria = self._config, self._config.get("TuningJobCompletionCriteria", {})
        not_improving = criteria.get("BestObjectiveNotImproving", {})
        limits = Limits(
            jobs=most_jobs(config, self._definitions),
            parallel=config["ResourceLimits"]["MaxParallelTrainingJobs"],
            maximize=self._definitions[0].maximize,
            stop_early=config.get("TrainingJobEarlyStoppingType") == "Auto",
            target=criteria.get("TargetObjectiveMetricValue"),
            not_improving=not_improving.get("MaxNumberOfTrainingJobsNotImproving"),
            on_convergence=criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled",
        )
        return Plan(limits, [self._search(index) for index in range(len(self._definitions))])

    def _search(self, index: int) -> Search:
        definition, seed = self._definitions[index], self._config.get("RandomSeed")
        strategy = self._config["Strategy"]
        search = make_search(
            definition.ranges,
            strategy=strategy,
            maximize=definition.maximize,
            # Definitions with the same ranges must not get the same configurations.
            seed=None if seed is None else (seed + index) % 2**32,
            resource=resource_of(self._config, definition) if strategy == "Hyperband" else None,
        )
        for record in self._parents:
            value = objective_of(record)
            if record["_ObjectiveStatus"] == "Succeeded" and record["_DefinitionName"] == definition.name:
                search.learn(record["HyperParameters"], value or 0.0)
        return search

    def _launch_all(self, plan: Plan) -> None:
        try:
            while not self._abandoned and (proposal := plan.propose()) is not None:
                self._launch(plan, proposal)
        except ServiceError as error:
            # The role or the image is not what it was when the tuning job was created.
            self._refused = error.message[:MAX_REASON]
            plan.halt(Halt.CRITERIA)

    def _launch(self, plan: Plan, proposal: Proposal) -> None:
        definition = self._definitions[proposal.definition]
        name = f"{self._name}-{len(self._trials) + 1:03d}-{secrets.token_hex(4)}"
        request = definition.training_request(name, proposal.values)
        shape = shapes.input_shape("CreateTrainingJob")
        # As the cloud itself: who may create tuning jobs need not be allowed to create training jobs.
        call = Call(
            sagemaker=self._sagemaker,
            caller=None,
            operation="CreateTrainingJob",
            request=shapes.check(request, shape),
        )
        watch = Watch(
            ended=partial(self._events.put, _Ended(name)),
            emitted=partial(self._emitted, name, definition.metric) if self._watched else None,
        )
        arn = call.arn(TRAINING, name)
        if tags := tags_of(self._store, self._record["HyperParameterTuningJobArn"]):
            add_tags(self._store, arn, tags)
        try:
            start_training(call, watch, trial_members(self._record, definition, proposal.values))
        except ServiceError:
            remove_tags(self._store, arn)
            raise
        plan.launched(name, proposal)
        self._trials[name] = self._store.get(TRAINING, name)
        self._write()

    def _emitted(self, job: str, wanted: str, metric: str, value: float) -> None:
        if metric == wanted:
            self._events.put(_Emitted(job, value))

    def _handle(self, event: _Event, plan: Plan) -> None:
        if isinstance(event, _Ended):
            self._take_in(event.job, plan)
        elif isinstance(event, _Emitted):
            if plan.emitted(event.job, event.value):
                self._stop_trials([event.job])
        elif isinstance(event, _Stop):
            plan.halt(Halt.STOPPED)

    def _take_in(self, name: str, plan: Plan) -> None:
        if self._abandoned:
            return
        record = self._store.get(TRAINING, name)
        status = record["TrainingJobStatus"]
        value = None if status == "Failed" else objective_of(record)
        counts = plan.ended(name, value, completed=status == "Completed")
        objective = "Succeeded" if counts else "Failed"
        self._trials[name] = self._store.update(
            TRAINING, name, lambda found: found.update(_ObjectiveStatus=objective)
        )
        self._write()

    def _stop_trials(self, names: list[str]) -> None:
        for name in names:
            if name in self._stopped:
                continue
            self._stopped.add(name)
            # One that has ended by itself meanwhile is as good as stopped.
            with suppress(ServiceError):
                self._sagemaker.call("StopTrainingJob", {"TrainingJobName": name}, None)

    def _write(self, **members: Any) -> None:
        trials = list(self._trials.values())
        best = best_of(trials)
        overall = best_of([*self._parents, *trials]) if has_overall_best(self._record) else None

        def change(record: Document) -> None:
            record.update(counters(trials), LastModifiedTime=now())
            if best is not None:
                record["BestTrainingJob"] = summary(best)
            if overall is not None:
                record["OverallBestTrainingJob"] = summary(overall, with_tuning_job=True)
            if record[STATUS] == "Stopping" and STATUS in members:
                # The user's stop came when the last training job had ended.
                members.update({STATUS: "Stopped", "FailureReason": None})
            record.update({member: value for member, value in members.items() if value is not None})

        self._store.update(KIND, self._name, change)

    def _end(self, verdict: Verdict, plan: Plan) -> None:
        if self._refused is not None and verdict.status != "Stopped":
            verdict = Verdict(status="Failed", reason=self._refused)
        moment = now()
        details: Document = {"NumberOfTrainingJobsObjectiveNotImproving": plan.not_improving}
        if plan.converged:
            details["ConvergenceDetectedTime"] = moment
        self._write(
            HyperParameterTuningJobStatus=verdict.status,
            FailureReason=verdict.reason,
            HyperParameterTuningEndTime=moment,
            TuningJobCompletionDetails=details,
            ConsumedResources={"RuntimeInSeconds": round(moment - self._record["CreationTime"])},
        )


def _left(deadline: float | None, plan: Plan) -> float | None:
    """Seconds until the tuning job has run too long; None when nothing depends on the time."""
    return None if deadline is None or plan.halted else max(0.0, deadline - time.monotonic())
