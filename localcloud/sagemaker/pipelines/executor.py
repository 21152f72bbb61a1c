"""The pipeline executor: every execution of this cloud that is running."""

import threading
from functools import partial

from localcloud.context import Cloud
from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.execution import Execution, RoleSession
from localcloud.sagemaker.pipelines.records import EXECUTION, fail_interrupted, load_definition
from localcloud.sagemaker.pipelines.run import ExecutionRun
from localcloud.sagemaker.pipelines.selection import select
from localcloud.sagemaker.store import Store


class PipelineExecutor:
    """Runs executions whose records the operations have written.

    Executions that an earlier process left running are ended here: nothing is half alive after a restart.

    Example:
        >>> executor.start("arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/abcdefghijkl")
    """

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud = cloud
        self._store = store
        self._lock = threading.Lock()
        self._runs: dict[str, ExecutionRun] = {}
        fail_interrupted(store)

    def start(self, execution_arn: str) -> None:
        """Run an execution; steps that have succeeded before are kept. Returns at once."""
        record = self._store.get(EXECUTION, execution_arn)
        execution = Execution(
            arn=execution_arn,
            pipeline_name=record["_PipelineName"],
            pipeline_arn=record["PipelineArn"],
            started=record["CreationTime"],
        )
        session = RoleSession(
            self._cloud, record["_RoleArn"], f"sagemaker-pipeline-{execution.id}", execution.pipeline_arn
        )
        definition = parse_definition(load_definition(self._store, record["_Definition"]))
        run = ExecutionRun(
            store=self._store,
            execution=execution,
            definition=definition,
            graph=select(definition, record.get("_Selected")).graph,
            parameters=record["_Parameters"],
            session=session,
            limit=record.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps"),
            on_end=partial(self._forget, execution_arn, session),
        )
        with self._lock:
            self._runs[execution_arn] = run
        run.start()

    def stop(self, execution_arn: str) -> None:
        """Stop an execution's running steps; no error when it has ended. Returns at once."""
        with self._lock:
            run = self._runs.get(execution_arn)
        if run is not None:
            run.stop()

    def set_limit(self, execution_arn: str, limit: int) -> None:
        """Let at most so many steps of a running execution run at once; no error when it has ended."""
        with self._lock:
            run = self._runs.get(execution_arn)
        if run is not None:
            run.set_limit(limit)

    def close(self) -> None:
        """End all executions, because the cloud ends."""
        with self._lock:
            runs = list(self._runs.values())
            self._runs.clear()
        for run in runs:
            run.abandon()
        fail_interrupted(self._store)

    def _forget(self, execution_arn: str, session: RoleSession) -> None:
        with self._lock:
            self._runs.pop(execution_arn, None)
        session.close()
