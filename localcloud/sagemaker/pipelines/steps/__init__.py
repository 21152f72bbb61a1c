"""The step types that run here, one module each.

A further type is a module with a function of type `Run` and a line in `RUNNERS`.
"""

from collections.abc import Iterable, Mapping

from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.steps.callback import run_callback
from localcloud.sagemaker.pipelines.steps.condition import run_condition
from localcloud.sagemaker.pipelines.steps.context import Run
from localcloud.sagemaker.pipelines.steps.endpoint import run_endpoint, run_endpoint_config
from localcloud.sagemaker.pipelines.steps.fail import run_fail
from localcloud.sagemaker.pipelines.steps.function import run_lambda
from localcloud.sagemaker.pipelines.steps.model import run_model
from localcloud.sagemaker.pipelines.steps.processing import run_processing
from localcloud.sagemaker.pipelines.steps.register_model import run_register_model
from localcloud.sagemaker.pipelines.steps.training import run_training
from localcloud.sagemaker.pipelines.steps.transform import run_transform
from localcloud.sagemaker.pipelines.steps.tuning import run_tuning

RUNNERS: Mapping[str, Run] = {
    "Callback": run_callback,
    "Condition": run_condition,
    "Endpoint": run_endpoint,
    "EndpointConfig": run_endpoint_config,
    "Fail": run_fail,
    "Lambda": run_lambda,
    "Model": run_model,
    "Processing": run_processing,
    "RegisterModel": run_register_model,
    "Training": run_training,
    "Transform": run_transform,
    "Tuning": run_tuning,
}


_SCRIPT = "do it in a script of a Processing step"
# What to do instead of a step whose type does not run here.
_INSTEAD: Mapping[str, str] = {
    "AutoML": "tune in a Tuning step",
    "ClarifyCheck": _SCRIPT,
    "Cleanup": _SCRIPT,
    "EMR": _SCRIPT,
    "EMRServerless": _SCRIPT,
    "Job": _SCRIPT,
    "InferenceComponent": "serve the model in an Endpoint step",
    "Lineage": "name the sources in the MetadataProperties of a RegisterModel step",
    "QualityCheck": _SCRIPT,
}


def cannot_run(definition: Definition, steps: Iterable[str]) -> list[str]:
    """One line for each of these steps whose type the local cloud does not run, with what to do about it."""
    return [
        f"Step {step.name!r} is of type {step.type}, which the local cloud does not run (it runs "
        f"{', '.join(RUNNERS)}). Run this pipeline on AWS, or here "
        f"{_INSTEAD.get(step.type, 'start one without that step')}."
        for step in map(definition.steps.__getitem__, steps)
        if step.type not in RUNNERS
    ]
