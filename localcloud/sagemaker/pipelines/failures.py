"""How a step ends other than well, in the words of the service."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed

from localcloud.sagemaker.pipelines import retries

# Shown by ListPipelineExecutionSteps; the shape of FailureReason takes no more.
_MAX_REASON = 1024
_THROTTLING_CODES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    }
)
_CODES = {
    "ResourceLimitExceeded": retries.RESOURCE_LIMIT,
    "CapacityError": retries.CAPACITY_ERROR,
    "InsufficientCapacityException": retries.CAPACITY_ERROR,
}
# A job names the class of its failure first, as in "CapacityError: Unable to provision requested capacity."
_JOB_REASONS = {
    "InternalServerError": retries.JOB_INTERNAL_ERROR,
    "CapacityError": retries.CAPACITY_ERROR,
    "ResourceLimitExceeded": retries.RESOURCE_LIMIT,
}


class StepStopped(Exception):
    """The execution is being stopped, and this step with it."""


class StepFailure(Exception):
    """A step failed.

    Args:
        reason: what `FailureReason` says; empty for a Fail step without a message.
        exception_type: one of `retries.EXCEPTION_TYPES` when a retry may help, else None.
        timed_out: the step's own time limit was hit, which fails an execution even while it is stopped.
    """

    def __init__(self, reason: str, exception_type: str | None = None, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason[:_MAX_REASON]
        self.exception_type = exception_type
        self.timed_out = timed_out


def call_failure(operation: str, error: ClientError | BotoCoreError) -> StepFailure:
    """The failure of a step whose API call was refused or did not get through.

    Args:
        operation: service and operation, for example `sagemaker:CreateProcessingJob`.
        error: what the client raised.
    """
    details, exception_type = str(error), None
    if isinstance(error, ClientError):
        details = error.response["Error"].get("Message", details)
        exception_type = _classify(error)
    elif isinstance(error, HTTPClientError | ConnectionFailed):
        exception_type = retries.SERVICE_FAULT
    return StepFailure(f"ClientError: Failed to invoke {operation}. Error Details: {details}", exception_type)


def job_failure(reason: str) -> StepFailure:
    """The failure of a step whose job failed, for `FailureReason` of that job."""
    return StepFailure(f"ClientError: {reason}", _JOB_REASONS.get(reason.partition(":")[0].strip()))


def without_policy(failure: StepFailure, execution_arn: str, step: str) -> StepFailure:
    """The same failure, saying that a retry policy could have covered it, as AWS does."""
    name = (failure.exception_type or "").replace("SageMaker.", "SAGEMAKER_").replace("Step.", "STEP_")
    return StepFailure(
        f"{failure.reason}\nRetry not appropriate on execution of step with PipelineExecutionArn "
        f"{execution_arn} and StepId {step}. No retry policy configured for the exception type {name}.",
        failure.exception_type,
    )


def _classify(error: ClientError) -> str | None:
    code: Any = error.response["Error"].get("Code")
    if code in _THROTTLING_CODES:
        return retries.THROTTLING
    if code in _CODES:
        return _CODES[code]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return retries.SERVICE_FAULT if status >= 500 else None
