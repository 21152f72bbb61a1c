"""The step that measures a model on held-out data, and what others read of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker.core.workflow.functions import JsonGet
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.steps import ProcessingStep

from pipeline_defs.steps import StepBuilder, output_of


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The step, and `report`, its evaluation.json."""

    step: ProcessingStep
    report: PropertyFile

    @property
    def folder(self) -> Any:
        """S3 URI of the folder with evaluation.json and report.html."""
        return output_of(self.step, "evaluation")

    def number(self, path: str) -> JsonGet:
        """What stands at `path` in evaluation.json, for gates and model cards."""
        return JsonGet(step_name=self.step.name, property_file=self.report, json_path=path)


def evaluation(
    steps: StepBuilder,
    suffix: str,
    *,
    module: str,
    model_data: Any,
    test: Any,
    instance_type: Any,
    arguments: Sequence[Any] = (),
) -> Evaluation:
    """The step `EvaluateModel<suffix>`, which runs `module` on the model archive and the `test` data."""
    report = PropertyFile(name=f"EvaluationReport{suffix}", output_name="evaluation", path="evaluation.json")
    step = steps.processing(
        f"EvaluateModel{suffix}",
        module=module,
        code="EvaluateCode",
        arguments=list(arguments),
        inputs={"model": model_data, "test": test},
        outputs=["evaluation"],
        instance_type=instance_type,
        property_files=[report],
    )
    return Evaluation(step, report)
