"""One execution while it runs: starts steps as the graph allows, on a thread each, until none is left."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope, RoleSession
from localcloud.sagemaker.pipelines.expressions import Scalar
from localcloud.sagemaker.pipelines.graph import Graph, Status, decide
from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.records import end_execution, step_records
from localcloud.sagemaker.pipelines.step_run import StepEnd, run_step
from localcloud.sagemaker.pipelines.steps.context import StopSignal
from localcloud.sagemaker.store import Store

_log = logging.getLogger(__name__)
# AWS's words for every failed execution; the reason stands in the step list.
STEP_FAILURE = "Step failure: One or multiple steps failed."


class ExecutionRun:
    """Runs an execution whose record exists.

    Steps that the store already holds as succeeded (an execution that is retried) are not run again.

    Args:
        graph: the steps that run.
        limit: how many steps may run at once; None for no limit.
        on_end: called once, after the execution's final status is written.
    """

    def __init__(
        self,
        *,
        store: Store,
        execution: Execution,
        definition: Definition,
        graph: Graph,
        parameters: Mapping[str, Scalar],
        session: RoleSession,
        limit: int | None,
        on_end: Callable[[], None],
    ) -> None:
        self._store = store
        self._execution = execution
        self._definition = definition
        self._graph = graph
        self._limit = limit
        self._on_end = on_end
        self._stop = StopSignal()
        self._lock = threading.Lock()
        self._abandoned = False
        self._ended = False
        self._timed_out = False
        self._properties: dict[str, Mapping[str, Any]] = {}
        self._outcomes: dict[str, bool] = {}
        self._statuses = dict.fromkeys(graph.order, Status.PENDING)
        for record in step_records(store, execution.arn):
            name = record["StepName"]
            self._statuses[name] = Status.SUCCEEDED
            self._properties[name] = record.get("_Properties", {})
            if "_Outcome" in record:
                self._outcomes[name] = record["_Outcome"]
        self._scope = ExecutionScope(
            execution=execution,
            definition=definition,
            parameters=parameters,
            properties_of=self._properties.get,
            session=session,
        )

    def start(self) -> None:
        """Start what can start; returns at once."""
        self._advance()

    def stop(self) -> None:
        """Stop the running steps; the execution ends when they have. Returns at once."""
        threading.Thread(target=self._give_stop, name=f"stop-{self._execution.id}", daemon=True).start()

    def set_limit(self, limit: int) -> None:
        """Let at most so many steps run at once from now on; what runs goes on."""
        with self._lock:
            self._limit = limit
        self._advance()

    def abandon(self) -> None:
        """Write nothing any more: the cloud is closing, and others settle the records."""
        with self._lock:
            self._abandoned = True

    def _give_stop(self) -> None:
        self._stop.give()
        self._advance()

    def _advance(self) -> None:
        with self._lock:
            if self._abandoned or self._ended:
                return
            halted = self._stop.given or self._has_failed_by_intent()
            decision = decide(self._graph, self._statuses, self._outcomes, limit=self._limit, halted=halted)
            self._statuses.update(dict.fromkeys(decision.skip, Status.SKIPPED))
            self._statuses.update(dict.fromkeys(decision.start, Status.RUNNING))
            ended = not {Status.PENDING, Status.RUNNING} & set(self._statuses.values())
            self._ended = ended
        for name in decision.start:
            threading.Thread(target=self._run, args=(name,), name=f"step-{name}", daemon=True).start()
        if ended:
            self._finish()

    def _has_failed_by_intent(self) -> bool:
        # "Executing a FailStep will terminate the pipeline": what runs ends by itself, nothing new starts.
        steps = self._definition.steps
        return any(
            status is Status.FAILED and steps[name].type == "Fail" for name, status in self._statuses.items()
        )

    def _run(self, name: str) -> None:
        try:
            end = run_step(
                self._definition.steps[name],
                execution=self._execution,
                scope=self._scope,
                stop=self._stop,
                store=self._store,
            )
        except Exception:
            if self._abandoned:
                return  # the store is closed under it
            _log.exception("the record of step %s of %s cannot be written", name, self._execution.arn)
            end = StepEnd(status=Status.FAILED)
        with self._lock:
            self._statuses[name] = end.status
            self._timed_out |= end.timed_out
            if end.result is not None:
                self._properties[name] = end.result.properties
                if end.result.outcome is not None:
                    self._outcomes[name] = end.result.outcome
        self._advance()

    def _finish(self) -> None:
        statuses = set(self._statuses.values())
        if self._stop.given and not self._timed_out:
            end_execution(self._store, self._execution.arn, "Stopped")
        elif Status.FAILED in statuses or Status.STOPPED in statuses:
            end_execution(self._store, self._execution.arn, "Failed", STEP_FAILURE)
        else:
            end_execution(self._store, self._execution.arn, "Succeeded")
        self._on_end()
