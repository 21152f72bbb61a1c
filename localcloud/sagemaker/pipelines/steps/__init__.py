"""The step types that run here, one module each.

A further type is a module with a function of type `Run` and a line in `RUNNERS`.
"""

from collections.abc import Mapping

from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.steps.condition import run_condition
from localcloud.sagemaker.pipelines.steps.context import Run
from localcloud.sagemaker.pipelines.steps.fail import run_fail
from localcloud.sagemaker.pipelines.steps.model import run_model
from localcloud.sagemaker.pipelines.steps.processing import run_processing
from localcloud.sagemaker.pipelines.steps.register_model import run_register_model
from localcloud.sagemaker.pipelines.steps.training import run_training
from localcloud.sagemaker.pipelines.steps.transform import run_transform

RUNNERS: Mapping[str, Run] = {
    "Condition": run_condition,
    "Fail": run_fail,
    "Model": run_model,
    "Processing": run_processing,
    "RegisterModel": run_register_model,
    "Training": run_training,
    "Transform": run_transform,
}


def cannot_run(definition: Definition) -> list[str]:
    """One line for each step whose type the local cloud does not run, with what to do about it."""
    return [
        f"Step {step.name!r} is of type {step.type}, which the local cloud does not run (it runs "
        f"{', '.join(RUNNERS)}). Run this pipeline on AWS, or start one without that step here."
        for step in definition.steps.values()
        if step.type not in RUNNERS
    ]
