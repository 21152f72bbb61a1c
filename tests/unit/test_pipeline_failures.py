"""How failures read, which are retried, and what a stop does to a step that waits for its next attempt."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from localcloud.context import Cloud
from localcloud.folder import StateFolder
from localcloud.sagemaker.pipelines import retries, step_run
from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope, RoleSession
from localcloud.sagemaker.pipelines.failures import StepFailure, call_failure, job_failure
from localcloud.sagemaker.pipelines.graph import Status
from localcloud.sagemaker.pipelines.model import Definition, Step
from localcloud.sagemaker.pipelines.retries import RetryPolicy
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult, StopSignal
from localcloud.sagemaker.store import Store

ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/abcdefghijkl"


def refused(code: str, message: str = "no", status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "CreateTrainingJob")


@pytest.mark.parametrize(
    ("error", "exception_type"),
    [
        (refused("ThrottlingException"), retries.THROTTLING),
        (refused("ResourceLimitExceeded"), retries.RESOURCE_LIMIT),
        (refused("CapacityError"), retries.CAPACITY_ERROR),
        (refused("InternalFailure", status=500), retries.SERVICE_FAULT),
        (EndpointConnectionError(endpoint_url="https://localhost:1"), retries.SERVICE_FAULT),
        (refused("AccessDeniedException"), None),
        (refused("ValidationException"), None),
        (ParamValidationError(report="Missing required parameter"), None),
    ],
)
def test_a_refused_call(error: Any, exception_type: str | None) -> None:
    failure = call_failure("sagemaker:CreateTrainingJob", error)
    assert failure.exception_type == exception_type
    assert failure.reason.startswith(
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: "
    )


@pytest.mark.parametrize(
    ("reason", "exception_type"),
    [
        (
            "InternalServerError: We encountered an internal error. Please try again.",
            retries.JOB_INTERNAL_ERROR,
        ),
        ("CapacityError: Unable to provision requested ML compute capacity.", retries.CAPACITY_ERROR),
        ("AlgorithmError: CapacityError, exit code: 1", None),
        ("ClientError: Data download failed", None),
    ],
)
def test_a_failed_job(reason: str, exception_type: str | None) -> None:
    failure = job_failure(reason)
    assert (failure.reason, failure.exception_type) == (f"ClientError: {reason}", exception_type)


def test_a_reason_is_as_long_as_the_api_allows() -> None:
    assert len(job_failure("x" * 5000).reason) == 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "sagemaker.db")
    yield store
    store.close()


Attempt = Callable[[StepContext], StepResult]


class Bench:
    """Runs one step whose attempts are played by a function."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.store, self.monkeypatch, self.stop = store, monkeypatch, StopSignal()
        self.cloud = Cloud(
            account="000000000000",
            region="us-east-1",
            endpoint_url="https://localhost:1",
            ca_bundle=tmp_path / "ca.pem",
            folder=StateFolder(tmp_path),
        )

    def run(self, attempt: Attempt, *policies: RetryPolicy) -> tuple[Status, dict[str, Any]]:
        self.monkeypatch.setattr(step_run, "RUNNERS", {"Training": attempt})
        step = Step(name="Train", type="Training", arguments={}, retries=policies)
        execution = Execution(
            arn=ARN, pipeline_name="p", pipeline_arn=ARN.partition("/execution")[0], started=1.0
        )
        scope = ExecutionScope(
            execution=execution,
            definition=Definition(parameters={}, steps={"Train": step}),
            parameters={},
            properties_of=lambda _: None,
            session=RoleSession(self.cloud, "arn:aws:iam::000000000000:role/r", "s", "arn:p"),
        )
        end = step_run.run_step(step, execution=execution, scope=scope, stop=self.stop, store=self.store)
        return end.status, self.store.get("pipeline-step", "abcdefghijkl/Train")


@pytest.fixture
def bench(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(store, monkeypatch, tmp_path)


def failing(times: int, exception_type: str | None) -> Attempt:
    left = [times]

    def attempt(_: StepContext) -> StepResult:
        if left[0]:
            left[0] -= 1
            raise StepFailure("ClientError: not now", exception_type)
        return StepResult(properties={"X": 1})

    return attempt


def policy(seconds: float = 0.0, attempts: int = 3) -> RetryPolicy:
    return RetryPolicy(
        exception_types=frozenset({retries.CAPACITY_ERROR}), interval_seconds=seconds, max_attempts=attempts
    )


def test_a_policy_brings_a_step_through(bench: Bench) -> None:
    status, record = bench.run(failing(2, retries.CAPACITY_ERROR), policy())
    assert status is Status.SUCCEEDED
    assert (record["StepStatus"], record["AttemptCount"]) == ("Succeeded", 3)
    assert "FailureReason" not in record


def test_a_policy_gives_up(bench: Bench) -> None:
    status, record = bench.run(failing(9, retries.CAPACITY_ERROR), policy())
    assert status is Status.FAILED
    assert (record["AttemptCount"], record["FailureReason"]) == (4, "ClientError: not now")


def test_without_a_policy_the_reason_says_that_one_could_have_helped(bench: Bench) -> None:
    status, record = bench.run(failing(1, retries.CAPACITY_ERROR))
    assert status is Status.FAILED
    assert record["FailureReason"] == (
        "ClientError: not now\nRetry not appropriate on execution of step with PipelineExecutionArn "
        f"{ARN} and StepId Train. No retry policy configured for the exception type SAGEMAKER_CAPACITY_ERROR."
    )


def test_what_no_policy_covers_is_not_retried(bench: Bench) -> None:
    status, record = bench.run(failing(1, None), policy())
    assert status is Status.FAILED
    assert (record["AttemptCount"], record["FailureReason"]) == (1, "ClientError: not now")


def test_a_stop_ends_the_wait_for_the_next_attempt(bench: Bench) -> None:
    timer = threading.Timer(0.2, bench.stop.give)
    timer.start()
    status, record = bench.run(failing(1, retries.CAPACITY_ERROR), policy(seconds=3600))
    timer.join()
    assert status is Status.STOPPED
    assert record["StepStatus"] == "Stopped"


def test_an_error_of_our_own_is_a_failure_of_the_step(bench: Bench) -> None:
    def broken(_: StepContext) -> StepResult:
        raise KeyError("ProcessingJobArn")

    status, record = bench.run(broken)
    assert status is Status.FAILED
    assert record["FailureReason"] == "InternalServerError: KeyError: 'ProcessingJobArn'"
