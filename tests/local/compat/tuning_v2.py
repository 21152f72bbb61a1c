"""A tuning pipeline over two algorithms, with a refit, as people write it with version 2 of the SDK.

Runs in this folder, in an environment with `sagemaker<3`, pointed at a local cloud: the SDK uploads scripts.
`python tuning_v2.py ROLE_ARN BUCKET definitions/tuning-v2.json` writes the definition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sagemaker.inputs import TrainingInput
from sagemaker.processing import ProcessingOutput
from sagemaker.sklearn.estimator import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, IntegerParameter
from sagemaker.workflow.parameters import ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import ProcessingStep, TrainingStep, TuningStep

METRIC = "mse"
DEFINITIONS = [{"Name": METRIC, "Regex": "cross-validated mse: ([0-9.]+);"}]
NAME = "ShellfishTuning"


def build(session: Any, role: str, bucket: str) -> Any:
    """The pipeline; see `shellfish_v2.build`."""
    data = ParameterString(name="InputData", default_value=f"s3://{bucket}/shellfish/raw.csv")
    processor = SKLearnProcessor(
        framework_version="1.2-1",
        instance_type="ml.m5.xlarge",
        instance_count=1,
        sagemaker_session=session,
        role=role,
    )
    process = ProcessingStep(
        name="Preprocess",
        step_args=processor.run(
            outputs=[
                ProcessingOutput(output_name=name, source=f"/opt/ml/processing/{name}")
                for name in ("train", "validation", "test")
            ],
            code="scripts/preprocess.py",
            arguments=["--input-data", data],
        ),
    )
    train = TrainingInput(
        s3_data=process.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri,
        content_type="text/csv",
    )

    def estimator(**hyperparameters: Any) -> Any:
        return SKLearn(
            entry_point="tuned.py",
            source_dir="tuned",
            framework_version="1.2-1",
            instance_type="ml.m5.xlarge",
            instance_count=1,
            role=role,
            sagemaker_session=session,
            metric_definitions=DEFINITIONS,
            output_path=f"s3://{bucket}/ShellfishTuning",
            hyperparameters=hyperparameters,
        )

    tuner = HyperparameterTuner.create(
        estimator_dict={"forest": estimator(algorithm="forest"), "ridge": estimator(algorithm="ridge")},
        objective_metric_name_dict={"forest": METRIC, "ridge": METRIC},
        hyperparameter_ranges_dict={
            "forest": {"max_depth": IntegerParameter(3, 8), "n_estimators": IntegerParameter(10, 40)},
            "ridge": {"alpha": ContinuousParameter(0.01, 100, scaling_type="Logarithmic")},
        },
        metric_definitions_dict={"forest": DEFINITIONS, "ridge": DEFINITIONS},
        strategy="Bayesian",
        objective_type="Minimize",
        max_jobs=4,
        max_parallel_jobs=2,
    )
    tune = TuningStep(
        name="Tune",
        step_args=tuner.fit(
            inputs={"forest": {"train": train}, "ridge": {"train": train}}, include_cls_metadata={}
        ),
    )
    best = tune.properties.BestTrainingJob
    refit = TrainingStep(
        name="Refit",
        step_args=estimator(algorithm=best.TrainingJobDefinitionName, best=best.TrainingJobName).fit(
            {"train": train}
        ),
    )
    return Pipeline(name=NAME, parameters=[data], steps=[process, tune, refit], sagemaker_session=session)


if __name__ == "__main__":
    given_role, given_bucket, target = sys.argv[1:4]
    pipeline = build(PipelineSession(default_bucket=given_bucket), given_role, given_bucket)
    Path(target).write_text(json.dumps(json.loads(pipeline.definition()), indent=2) + "\n")
