"""One step of one execution, from its start to its end: cache, attempts, retries, record."""

import logging
import time
from dataclasses import dataclass

from localcloud.sagemaker.pipelines import cached_objects, caching
from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope
from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped, without_policy
from localcloud.sagemaker.pipelines.graph import Status
from localcloud.sagemaker.pipelines.model import Step
from localcloud.sagemaker.pipelines.records import StepRecord
from localcloud.sagemaker.pipelines.retries import retry_delay
from localcloud.sagemaker.pipelines.steps import RUNNERS
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult, StopSignal
from localcloud.sagemaker.store import Store, now

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """How a step ended; `result` when it succeeded, `timed_out` when its own time limit was hit."""

    status: Status
    result: StepResult | None = None
    timed_out: bool = False


def run_step(
    step: Step, *, execution: Execution, scope: ExecutionScope, stop: StopSignal, store: Store
) -> StepEnd:
    """Run a step and keep its record. Never raises: what goes wrong is the step's failure."""
    record = StepRecord(store, execution, step)
    context = StepContext(step=step, execution=execution, scope=scope, record=record, stop=stop, store=store)
    try:
        return _run(context)
    except StepStopped:
        record.end("Stopped")
        return StepEnd(status=Status.STOPPED)
    except StepFailure as failure:
        record.end("Failed", FailureReason=failure.reason or None)
        return StepEnd(status=Status.FAILED, timed_out=failure.timed_out)
    except Exception as error:
        _log.exception("step %s of %s failed unexpectedly", step.name, execution.arn)
        record.end("Failed", FailureReason=f"InternalServerError: {type(error).__name__}: {error}"[:1024])
    return StepEnd(status=Status.FAILED)


def _run(context: StepContext) -> StepEnd:
    step, execution = context.step, context.execution
    key = None
    if step.cached:
        key = caching.cache_key(execution.pipeline_arn, step, context.arguments(), context.target())
    if key is not None:
        hit = _find_hit(context, key)
        if hit is not None:
            source = {"SourcePipelineExecutionArn": hit.execution_arn}
            return _succeed(context, StepResult(properties=hit.properties, metadata=hit.metadata), source)
    result = _attempt_all(context)
    end = _succeed(context, result, None)
    if key is not None:
        made = caching.CacheHit(
            execution_arn=execution.arn,
            metadata=result.metadata,
            properties=result.properties,
            objects=cached_objects.look(context.scope.session.cloud, result.properties),
        )
        caching.remember(context.store, key, made, pipeline_arn=execution.pipeline_arn, now=now())
    return end


def _find_hit(context: StepContext, key: str) -> caching.CacheHit | None:
    hit = caching.find_hit(context.store, key, now=now(), max_age=context.step.cache_seconds)
    if hit is not None and (lost := cached_objects.gone(context.scope.session.cloud, hit.objects)):
        _log.info("step %s runs again: objects are gone from %s", context.step.name, ", ".join(lost))
        return None
    return hit


def _succeed(context: StepContext, result: StepResult, source: dict[str, str] | None) -> StepEnd:
    context.record.end(
        "Succeeded",
        Metadata=dict(result.metadata),
        CacheHitResult=source,
        _Properties=dict(result.properties),
        _Outcome=result.outcome,
    )
    return StepEnd(status=Status.SUCCEEDED, result=result)


def _attempt_all(context: StepContext) -> StepResult:
    step, began = context.step, time.monotonic()
    attempt = 1
    while True:
        try:
            return RUNNERS[step.type](context)
        except StepFailure as failure:
            elapsed = time.monotonic() - began
            delay = retry_delay(step.retries, failure.exception_type, attempt=attempt, elapsed=elapsed)
            if delay is None:
                covered = any(failure.exception_type in policy.exception_types for policy in step.retries)
                if failure.exception_type is None or covered or attempt > 1:
                    raise
                raise without_policy(failure, context.execution.arn, step.name) from failure
            context.stop.pause(delay)
        attempt += 1
        context.record.attempt(attempt)
