"""The shellfish pipeline as people write it with version 2 of the SageMaker SDK.

Runs in this folder, in an environment with `sagemaker<3`, pointed at a local cloud: the SDK uploads scripts.
`python shellfish_v2.py ROLE_ARN BUCKET definitions/shellfish-v2.json` writes the definition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TransformStep

# Relative: the SDK hashes the path with the content, and every machine has another.
SCRIPTS = Path("scripts")
NAME = "ShellfishV2"


def build(session: Any, role: str, bucket: str, *, version: str = "1.0-1") -> Any:
    """The pipeline.

    Args:
        session: PipelineSession.
        role: ARN of the execution role.
        bucket: where data and results lie.
        version: of the XGBoost image.
    """
    region = session.boto_region_name
    count = ParameterInteger(name="ProcessingInstanceCount", default_value=1)
    approval = ParameterString(name="ModelApprovalStatus", default_value="PendingManualApproval")
    data = ParameterString(name="InputData", default_value=f"s3://{bucket}/shellfish/raw.csv")
    batch = ParameterString(name="BatchData", default_value=f"s3://{bucket}/shellfish/batch.csv")
    threshold = ParameterFloat(name="MseThreshold", default_value=6.0)
    cache = CacheConfig(enable_caching=True, expire_after="30d")

    processor = SKLearnProcessor(
        framework_version="1.2-1",
        instance_type="ml.m5.xlarge",
        instance_count=count,
        base_job_name="shellfish-process",
        sagemaker_session=session,
        role=role,
    )
    process = ProcessingStep(
        name="ShellfishProcess",
        step_args=processor.run(
            outputs=[
                ProcessingOutput(output_name=name, source=f"/opt/ml/processing/{name}")
                for name in ("train", "validation", "test")
            ],
            code=str(SCRIPTS / "preprocess.py"),
            arguments=["--input-data", data],
        ),
        cache_config=cache,
    )

    def output(name: str) -> Any:
        return process.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    image = sagemaker.image_uris.retrieve(
        framework="xgboost", region=region, version=version, py_version="py3", instance_type="ml.m5.xlarge"
    )
    estimator = Estimator(
        image_uri=image,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        output_path=f"s3://{bucket}/ShellfishTrain",
        base_job_name="shellfish-train",
        sagemaker_session=session,
        role=role,
    )
    estimator.set_hyperparameters(
        objective="reg:linear",
        num_round=40,
        max_depth=5,
        eta=0.2,
        gamma=4,
        min_child_weight=6,
        subsample=0.7,
        silent=0,
    )
    train = TrainingStep(
        name="ShellfishTrain",
        step_args=estimator.fit(
            inputs={
                name: TrainingInput(s3_data=output(name), content_type="text/csv")
                for name in ("train", "validation")
            }
        ),
        cache_config=cache,
    )

    evaluator = ScriptProcessor(
        image_uri=image,
        command=["python3"],
        instance_type="ml.m5.xlarge",
        instance_count=1,
        base_job_name="script-shellfish-eval",
        sagemaker_session=session,
        role=role,
    )
    report = PropertyFile(name="ShellfishReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="ShellfishEval",
        step_args=evaluator.run(
            inputs=[
                ProcessingInput(
                    source=train.properties.ModelArtifacts.S3ModelArtifacts,
                    destination="/opt/ml/processing/model",
                ),
                ProcessingInput(source=output("test"), destination="/opt/ml/processing/test"),
            ],
            outputs=[ProcessingOutput(output_name="evaluation", source="/opt/ml/processing/evaluation")],
            code=str(SCRIPTS / "evaluate.py"),
        ),
        property_files=[report],
        cache_config=cache,
    )

    model = Model(
        image_uri=image,
        model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
        sagemaker_session=session,
        role=role,
    )
    create = ModelStep(name="ShellfishCreateModel", step_args=model.create(instance_type="ml.m5.large"))
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
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.t2.medium", "ml.m5.xlarge"],
            transform_instances=["ml.m5.xlarge"],
            model_package_group_name="ShellfishModels",
            approval_status=approval,
            model_metrics=metrics,
        ),
    )
    fail = FailStep(
        name="ShellfishMseFail",
        error_message=Join(on=" ", values=["Execution failed due to MSE >", threshold]),
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
