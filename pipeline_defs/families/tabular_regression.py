"""Tabular regression: validate, preprocess, train, evaluate, gate on MSE, register and score a batch."""

from __future__ import annotations

from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipeline_defs.catalog import PipelineSpec, TabularRegression
from pipeline_defs.session import BUCKET
from pipeline_defs.steps import StepBuilder, output_of

CONTENT_TYPES = ("application/json", "application/jsonlines", "text/csv")
HYPERPARAMETERS = {
    "num_round": 400,
    "early_stopping_rounds": 20,
    "max_depth": 4,
    "eta": 0.06,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "min_child_weight": 5,
    "seed": 7,
}
METRICS = {"train:rmse": r"train-rmse:([0-9.eE+-]+)", "validation:rmse": r"validation-rmse:([0-9.eE+-]+)"}


def build(spec: PipelineSpec) -> Pipeline:
    """The pipeline `spec`, in which every parameter is used by a step."""
    family, code = spec.family, spec.code
    if not isinstance(family, TabularRegression):
        raise TypeError(f"{spec.name} is not of this family")
    batch = f"s3://{BUCKET}/batch/{spec.name}/batch.jsonl"
    # No default: the cache compares addresses, so a fixed one would answer new data with old results.
    input_data = ParameterString("InputData")
    batch_data = ParameterString("BatchData", default_value=batch)
    processing_count = ParameterInteger("ProcessingInstanceCount", default_value=1)
    processing_type = ParameterString("ProcessingInstanceType", default_value="ml.m5.large")
    training_type = ParameterString("TrainingInstanceType", default_value="ml.m5.large")
    training_count = ParameterInteger("TrainingInstanceCount", default_value=1)
    approval = ParameterString(
        "ModelApprovalStatus",
        default_value="PendingManualApproval",
        enum_values=["Approved", "Rejected", "PendingManualApproval"],
    )
    mse_threshold = ParameterFloat("MseThreshold", default_value=family.mse_threshold)

    steps = StepBuilder(pipeline=spec.name)
    dataset = ["--dataset", family.dataset, "--target", family.target]

    validate = steps.processing(
        "ValidateData",
        module=code["ValidateCode"],
        code="ValidateCode",
        arguments=dataset,
        inputs={"data": input_data},
        outputs=["report"],
        instance_type=processing_type,
    )
    preprocess = steps.processing(
        "PreprocessData",
        module=code["PreprocessCode"],
        code="PreprocessCode",
        arguments=dataset,
        inputs={"data": input_data},
        outputs=["train", "validation", "test", "encoder"],
        instance_type=processing_type,
        instance_count=processing_count,
        depends_on=[validate],
    )
    train = steps.training(
        "TrainModel",
        module=code["TrainCode"],
        code="TrainCode",
        channels={name: output_of(preprocess, name) for name in ("train", "validation", "encoder")},
        hyperparameters=HYPERPARAMETERS,
        metrics=METRICS,
        instance_type=training_type,
        instance_count=training_count,
    )
    model_data = train.properties.ModelArtifacts.S3ModelArtifacts
    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = steps.processing(
        "EvaluateModel",
        module=code["EvaluateCode"],
        code="EvaluateCode",
        arguments=[],
        inputs={"model": model_data, "test": output_of(preprocess, "test")},
        outputs=["evaluation"],
        instance_type=processing_type,
        property_files=[report],
    )
    mse = JsonGet(step_name=evaluate.name, property_file=report, json_path="regression_metrics.mse.value")
    register = steps.register(
        "RegisterModel",
        model_data=model_data,
        evaluation=output_of(evaluate, "evaluation"),
        approval_status=approval,
        content_types=CONTENT_TYPES,
        instance_types=["ml.m5.large", "ml.m5.xlarge"],
        metadata={
            "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
            "input_data": input_data,
            "mse_threshold": mse_threshold.to_string(),
            "training_job": train.properties.TrainingJobName,
        },
    )
    model = steps.model("CreateModel", model_data=model_data)
    transform = steps.transform(
        "BatchTransform",
        model_name=model.properties.ModelName,
        data=batch_data,
        content_type="application/jsonlines",
        instance_type=processing_type,
    )
    gate = ConditionStep(
        "CheckMse",
        conditions=[ConditionLessThanOrEqualTo(left=mse, right=mse_threshold)],
        if_steps=[register, model, transform],
        else_steps=[
            FailStep(
                "MseTooHigh",
                error_message=Join(
                    on=" ",
                    values=["Mean squared error", mse, "is above MseThreshold", mse_threshold.to_string()],
                ),
            )
        ],
    )
    return Pipeline(
        name=spec.name,
        parameters=[
            input_data,
            batch_data,
            processing_count,
            processing_type,
            training_type,
            training_count,
            approval,
            mse_threshold,
        ],
        steps=[validate, preprocess, train, evaluate, gate],
        # Experiments take permissions of their own, and the registry already records each execution.
        pipeline_experiment_config=None,
        sagemaker_session=steps.session,
    )
