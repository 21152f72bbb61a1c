"""Lambda steps: a deployed function, called with the step's arguments as the execution role.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-lambda.
"""

import json
import threading
from typing import Any

from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped
from localcloud.sagemaker.pipelines.output_parameters import OutputError, listed, take_outputs
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult

# A Lambda step's limit, whatever the function's own.
TIMEOUT_SECONDS = 600.0


def run_lambda(context: StepContext) -> StepResult:
    """Invoke the function and wait for its answer, which a stop of the execution does not cut short."""
    arguments, function = context.arguments(), context.target()
    if context.stop.given:
        raise StepStopped
    metadata: dict[str, Any] = {"Lambda": {"Arn": function}}
    context.record.executing(metadata)
    context.stop.on_stop(context, context.record.stopping)
    try:
        answer = _Invocation(context, function, arguments).wait(TIMEOUT_SECONDS)
    finally:
        context.stop.forget(context)
    try:
        outputs = take_outputs(context.step.outputs, answer)
    except OutputError as error:
        raise StepFailure(f"ClientError: Lambda function {function}: {error}") from error
    metadata["Lambda"]["OutputParameters"] = listed(outputs)
    return StepResult(properties={"OutputParameters": outputs}, metadata=metadata)


class _Invocation:
    """One call, on a thread of its own: nobody can end it, only leave it."""

    def __init__(self, context: StepContext, function: str, arguments: dict[str, Any]) -> None:
        self._context, self._function, self._arguments = context, function, arguments
        self._answer: Any = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"invoke-{context.step.name}", daemon=True)

    def wait(self, seconds: float) -> Any:
        self._thread.start()
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise StepFailure(
                f"ClientError: Lambda function {self._function} did not answer within {seconds:g} s, the "
                "limit of a Lambda step",
                timed_out=True,
            )
        if self._failure is not None:
            raise self._failure
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._invoke()
        except Exception as error:
            # Raised again by whoever waits.
            self._failure = error

    def _invoke(self) -> Any:
        request = {"FunctionName": self._function, "Payload": json.dumps(self._arguments).encode()}
        given = self._context.call("Invoke", request, service="lambda")
        body = given["Payload"].read()
        try:
            answer = json.loads(body or b"null")
        except ValueError:
            raise StepFailure(
                f"ClientError: Lambda function {self._function} answered with what is not JSON: {body!r:.200}"
            ) from None
        if "FunctionError" in given:
            said = answer if isinstance(answer, dict) else {"errorMessage": answer}
            kind, message = said.get("errorType", given["FunctionError"]), said.get("errorMessage")
            raise StepFailure(f"ClientError: Lambda function {self._function} failed: {kind}: {message}")
        return answer
