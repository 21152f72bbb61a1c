"""Callback steps: a message with a token to a queue, and then the wait for whoever sends the token back.

Follows https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-callback.
"""

import json
import secrets
import string
from typing import Any

from localcloud.sagemaker.pipelines.failures import StepFailure, StepStopped
from localcloud.sagemaker.pipelines.output_parameters import OutputError, listed, take_outputs
from localcloud.sagemaker.pipelines.records import CALLBACK
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult

TIMEOUT_SECONDS = 7 * 86_400.0
_CHARACTERS = string.ascii_letters + string.digits
_TOKEN_LENGTH = 10


def run_callback(context: StepContext) -> StepResult:
    """Send the message and wait for SendPipelineExecutionStepSuccess or -Failure with its token.

    When the execution is stopped a second message says so (`status` Stopping), and the step ends when the
    token comes back, as on AWS.
    """
    arguments, queue = context.arguments(), context.target()
    if context.stop.given:
        raise StepStopped
    token = "".join(secrets.choice(_CHARACTERS) for _ in range(_TOKEN_LENGTH))
    metadata: dict[str, Any] = {"Callback": {"CallbackToken": token, "SqsQueueUrl": queue}}
    name = f"{context.execution.id}/{context.step.name}"
    # Before anybody can see the token, in the list of steps or in the message: an answer may come at once.
    record = {"Token": token, "Step": name, "PipelineExecutionArn": context.execution.arn, "Answer": None}
    context.store.create(CALLBACK, token, record)
    context.record.executing(metadata)
    try:
        _send(context, queue, token, arguments, "Executing")
        context.stop.on_stop(context, lambda: _say_stopping(context, queue, token, arguments))
        answer = _wait(context, token)
    finally:
        context.stop.forget(context)
        context.store.update(CALLBACK, token, lambda record: record.update(Ended=True))
    if context.stop.given:
        raise StepStopped
    if "FailureReason" in answer:
        raise StepFailure(answer["FailureReason"])
    try:
        outputs = take_outputs(context.step.outputs, answer["Outputs"])
    except OutputError as error:
        raise StepFailure(f"ClientError: Callback step {context.step.name}: {error}") from error
    metadata["Callback"]["OutputParameters"] = listed(outputs)
    return StepResult(properties={"OutputParameters": outputs}, metadata=metadata)


def _wait(context: StepContext, token: str) -> dict[str, Any]:
    try:
        record = context.store.wait(
            CALLBACK, token, lambda record: record["Answer"] is not None, TIMEOUT_SECONDS
        )
    except TimeoutError:
        raise StepFailure(
            f"ClientError: Callback step {context.step.name}: nobody sent its token back within "
            f"{TIMEOUT_SECONDS:g} s",
            timed_out=True,
        ) from None
    answer: dict[str, Any] = record["Answer"]
    return answer


def _say_stopping(context: StepContext, queue: str, token: str, arguments: dict[str, Any]) -> None:
    context.record.stopping()
    try:
        _send(context, queue, token, arguments, "Stopping")
    except StepFailure:
        # The queue is gone or closed to the role: the step still waits for its token.
        return


def _send(context: StepContext, queue: str, token: str, arguments: dict[str, Any], status: str) -> None:
    body = {
        "token": token,
        "pipelineExecutionArn": context.execution.arn,
        "arguments": arguments,
        "status": status,
    }
    context.call("SendMessage", {"QueueUrl": queue, "MessageBody": json.dumps(body)}, service="sqs")
