"""The shellfish pipeline as people write it with version 3 of the SageMaker SDK.

Runs in this folder, in the SDK's environment (.venv-sdk), pointed at a local cloud: the SDK uploads scripts.
`python shellfish_v3.py ROLE_ARN BUCKET definitions/shellfish-v3.json` writes the definition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sagemaker.core import image_uris
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import (
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TransformStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData

# Relative: the SDK hashes the path with the content, and every machine has another.
SCRIPTS = Path("scripts")
NAME = "ShellfishV3"


def build(session: Any, role: str, bucket: str, *, version: str = "1.7-1") -> Any:
    """The pipeline; see `shellfish_v2.build`."""
    region = session.boto_region_name
    count = ParameterInteger(name="ProcessingInstanceCount", default_value=1)
    approval = ParameterString(name="ModelApprovalStatus", default_value="PendingManualApproval")
    data = ParameterString(name="InputData", default_value=f"s3://{bucket}/shellfish/raw.csv")
    batch = ParameterString(name="BatchData", default_value=f"s3://{bucket}/shellfish/batch.csv")
    threshold = ParameterFloat(name="MseThreshold", default_value=6.0)
    cache = CacheConfig(enable_caching=True, expire_after="P30D")
    sklearn = image_uris.retrieve(
        "sklearn", region, version="1.2-1", py_version="py3", instance_type="ml.m5.large"
    )
    xgboost = image_uris.retrieve("xgboost", region, version=version)

    def processor(image: str, count: Any) -> Any:
        return ScriptProcessor(
            image_uri=image,
            command=["python3"],
            role=role,
            instance_type="ml.m5.xlarge",
            instance_count=count,
            base_job_name="shellfish",
            sagemaker_session=session,
        )

    def given(name: str, uri: Any) -> Any:
        source = ProcessingS3Input(
            s3_uri=uri,
            local_path=f"/opt/ml/processing/{name}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        )
        return ProcessingInput(input_name=name, s3_input=source)

    def made(step: str, name: str) -> Any:
        uri = Join(
            on="/", values=[f"s3://{bucket}", NAME, ExecutionVariables.PIPELINE_EXECUTION_ID, step, name]
        )
        target = ProcessingS3Output(
            s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_upload_mode="EndOfJob"
        )
        return ProcessingOutput(output_name=name, s3_output=target)

    process = ProcessingStep(
        name="ShellfishProcess",
        step_args=processor(sklearn, count).run(
            code=str(SCRIPTS / "preprocess.py"),
            arguments=["--input-data", data],
            outputs=[made("process", name) for name in ("train", "validation", "test")],
        ),
        cache_config=cache,
    )

    def output(name: str) -> Any:
        return process.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    trainer = ModelTrainer(
        training_image=xgboost,
        role=role,
        sagemaker_session=session,
        base_job_name="shellfish-train",
        compute=Compute(instance_type="ml.m5.xlarge", instance_count=1, volume_size_in_gb=30),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/ShellfishTrain"),
        hyperparameters={
            "objective": "reg:squarederror",
            "num_round": 40,
            "max_depth": 5,
            "eta": 0.2,
            "subsample": 0.7,
        },
    )
    train = TrainingStep(
        name="ShellfishTrain",
        step_args=trainer.train(
            input_data_config=[
                InputData(channel_name=name, data_source=output(name), content_type="text/csv")
                for name in ("train", "validation")
            ]
        ),
        cache_config=cache,
    )
    report = PropertyFile(name="ShellfishReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="ShellfishEval",
        step_args=processor(xgboost, 1).run(
            code=str(SCRIPTS / "evaluate.py"),
            inputs=[
                given("model", train.properties.ModelArtifacts.S3ModelArtifacts),
                given("test", output("test")),
            ],
            outputs=[made("evaluate", "evaluation")],
        ),
        property_files=[report],
        cache_config=cache,
    )
    model = ModelBuilder(
        s3_model_data_url=train.properties.ModelArtifacts.S3ModelArtifacts,
        image_uri=xgboost,
        role_arn=role,
        sagemaker_session=session,
    )
    metrics = ModelMetrics(
        model_statistics=MetricsSource(
            s3_uri=Join(
                on="/",
                values=[
                    evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri,
                    "evaluation.json",
                ],
            ),
            content_type="application/json",
        )
    )
    register = ModelStep(
        name="ShellfishRegisterModel",
        step_args=model.register(
            model_package_group_name="ShellfishModels",
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.xlarge"],
            transform_instances=["ml.m5.xlarge"],
            approval_status=approval,
            model_metrics=metrics,
        ),
    )
    create = ModelStep(name="ShellfishCreateModel", step_args=model.build())
    transformer = Transformer(
        model_name=create.properties.ModelName,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        output_path=f"s3://{bucket}/ShellfishTransform",
        sagemaker_session=session,
    )
    transform = TransformStep(
        name="ShellfishTransform",
        step_args=transformer.transform(data=batch, content_type="text/csv", split_type="Line"),
    )
    fail = FailStep(
        name="ShellfishMseFail",
        error_message=Join(on=" ", values=["Execution failed due to MSE >", threshold.to_string()]),
    )
    gate = ConditionStep(
        name="ShellfishMseCond",
        conditions=[
            ConditionLessThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name,
                    property_file=report,
                    json_path="regression_metrics.mse.value",
                ),
                right=threshold,
            )
        ],
        if_steps=[register, create, transform],
        else_steps=[fail],
    )
    return Pipeline(
        name=NAME,
        parameters=[count, approval, data, batch, threshold],
        steps=[process, train, evaluate, gate],
        sagemaker_session=session,
    )


if __name__ == "__main__":
    given_role, given_bucket, target = sys.argv[1:4]
    pipeline = build(PipelineSession(default_bucket=given_bucket), given_role, given_bucket)
    Path(target).write_text(json.dumps(json.loads(pipeline.definition()), indent=2) + "\n")
