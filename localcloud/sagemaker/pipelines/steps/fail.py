"""Fail steps: they end the execution with a message of its author."""

from typing import NoReturn

from localcloud.sagemaker.pipelines.expressions import ExpressionError, to_text
from localcloud.sagemaker.pipelines.failures import StepFailure
from localcloud.sagemaker.pipelines.steps.context import StepContext


def run_fail(context: StepContext) -> NoReturn:
    """Fail with the step's ErrorMessage, see
    https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-fail.
    """
    try:
        message = to_text(context.resolve(context.step.arguments.get("ErrorMessage", "")))
    except ExpressionError as error:
        raise StepFailure(f"ClientError: Step {context.step.name!r}: {error}") from error
    context.record.executing({"Fail": {"ErrorMessage": message}})
    raise StepFailure(message)
