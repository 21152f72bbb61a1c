"""The gate between evaluation and registration, and the second chance behind it.

train, evaluate -> good enough? yes: release
                                no:  OnGateFailure is Retrain? no:  fail with both numbers
                                                               yes: train wider, evaluate -> good enough? ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker.core.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import Parameter
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep

from pipeline_defs.model_card import Hyperparameters

WIDER = "Wider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One model that was trained and measured.

    suffix: ends the names of the round's steps, since names are unique in a pipeline: nothing, or `WIDER`.
    steps: train it and evaluate it.
    model_data: its archive's S3 URI.
    training_job: ARN of the job that made it.
    hyperparameters: what it was trained with: name -> value, or where that is known, see `model_card`.
    evaluation: S3 URI of the folder with evaluation.json and report.html.
    metric: the number that the gate compares, a `JsonGet`.
    metrics: name -> `JsonGet`, for the model card.
    """

    suffix: str
    steps: Sequence[Any]
    model_data: Any
    training_job: Any
    hyperparameters: Hyperparameters
    evaluation: Any
    metric: Any
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What decides whether a model is released.

    name: of the metric in step names, `Mse` for CheckMse and MseTooHigh.
    title: of the metric in messages, for example "Mean squared error".
    threshold: the parameter that the metric is compared with.
    at_most: whether smaller is better; else larger is.
    on_failure: the parameter OnGateFailure.
    """

    name: str
    title: str
    threshold: Parameter
    at_most: bool
    on_failure: Parameter

    def steps(self, first: Round, wider: Round, release: Callable[[Round], Sequence[Any]]) -> list[Any]:
        """The steps from the first round's training to the end of the pipeline.

        wider: runs only if the first round missed and OnGateFailure says so.
        release: builds the steps that register and use a round's model.
        """
        retry = [*wider.steps, self._check(wider, release(wider), [self._failure(wider)])]
        missed = ConditionStep(
            "CheckOnGateFailure",
            conditions=[ConditionEquals(left=self.on_failure, right="Retrain")],
            if_steps=retry,
            else_steps=[self._failure(first)],
        )
        return [*first.steps, self._check(first, release(first), [missed])]

    def _check(self, tried: Round, passed: Sequence[Any], failed: Sequence[Any]) -> ConditionStep:
        condition = ConditionLessThanOrEqualTo if self.at_most else ConditionGreaterThanOrEqualTo
        return ConditionStep(
            f"Check{self.name}{tried.suffix}",
            conditions=[condition(left=tried.metric, right=self.threshold)],
            if_steps=list(passed),
            else_steps=list(failed),
        )

    def _failure(self, tried: Round) -> FailStep:
        ending, side = ("TooHigh", "above") if self.at_most else ("TooLow", "below")
        words = [self.title, tried.metric, f"is {side} {self.threshold.name}", self.threshold.to_string()]
        return FailStep(
            f"{self.name}{ending}{tried.suffix}",
            error_message=Join(on=" ", values=["After the wider round:", *words] if tried.suffix else words),
        )
