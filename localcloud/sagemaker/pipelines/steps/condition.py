"""Condition steps: which of two branches is taken."""

from localcloud.sagemaker.pipelines.conditions import ConditionError, evaluate_all
from localcloud.sagemaker.pipelines.failures import StepFailure
from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult


def run_condition(context: StepContext) -> StepResult:
    """Evaluate the conditions; the graph does the rest."""
    try:
        outcome = evaluate_all(context.step.arguments["Conditions"], context.resolve)
    except ConditionError as error:
        raise StepFailure(f"ClientError: Step {context.step.name!r}: {error}") from error
    return StepResult(
        properties={"Outcome": outcome},
        metadata={"Condition": {"Outcome": "True" if outcome else "False"}},
        outcome=outcome,
    )
