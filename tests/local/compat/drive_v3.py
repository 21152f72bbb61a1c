"""Runs in the SDK's environment and does with its own client what people do; the last line is JSON.

`python drive_v3.py ROLE_ARN BUCKET`, pointed at a local cloud.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path

import boto3
import shellfish_v3
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.steps import TuningStep
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.tuner import HyperparameterTuner

SCRIPT = """
import json, os, sys
from helper import KEPT
open(os.path.join(os.environ["SM_MODEL_DIR"], KEPT), "w").write(json.dumps(sys.argv[1:]))
"""


def pipeline(role: str, bucket: str) -> dict[str, object]:
    """Upsert, start, wait, list; and once more, from the cache."""
    made = shellfish_v3.build(PipelineSession(), role, bucket)
    made.upsert(role_arn=role, tags=[{"Key": "team", "Value": "shellfish"}])
    made.upsert(role_arn=role)
    execution = made.start(parameters={"MseThreshold": 8.0}, execution_display_name="first")
    execution.wait(delay=1, max_attempts=600)
    again = made.start(parameters={"MseThreshold": 8.0})
    again.wait(delay=1, max_attempts=600)
    return {
        "status": execution.describe()["PipelineExecutionStatus"],
        "steps": {step["StepName"]: step["StepStatus"] for step in execution.list_steps()},
        "again": again.describe()["PipelineExecutionStatus"],
        "cached": sum("CacheHitResult" in step for step in again.list_steps()),
    }


def job(role: str, bucket: str) -> dict[str, object]:
    """Train a script that lies on this machine, following the log."""
    session = Session()
    assert session.default_bucket() == bucket
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(SCRIPT)
        (Path(folder) / "helper.py").write_text('KEPT = "arguments.json"\n')
        (Path(folder) / "requirements.txt").write_text("numpy>=1.20\nscikit-learn==1.2.1\n")
        trainer = ModelTrainer(
            training_image=image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1"),
            role=role,
            sagemaker_session=session,
            source_code=SourceCode(
                source_dir=folder, entry_script="train.py", requirements="requirements.txt"
            ),
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            hyperparameters={"alpha": 0.5},
            base_job_name="shellfish-script",
        )
        trainer.train(wait=True, logs=True)
        found = trainer._latest_training_job
        found.refresh()
        bucket, _, key = found.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
        archive = Path(folder) / "model.tar.gz"
        boto3.client("s3").download_file(bucket, key, str(archive))
        with tarfile.open(archive) as members:
            content = members.extractfile("arguments.json")
            assert content is not None
            return {"job": found.training_job_status, "arguments": json.load(content)}


def several_algorithms(role: str, bucket: str) -> dict[str, object]:
    """What a tuning step over two trainers comes to, made as the SDK's documentation has it."""
    names = ("deep", "wide")

    def trainer(name: str) -> ModelTrainer:
        return ModelTrainer(
            training_image=image_uris.retrieve("xgboost", "us-east-1", version="1.7-1"),
            role=role,
            sagemaker_session=session,
            base_job_name=name,
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            hyperparameters={"objective": "reg:squarederror", "num_round": 2},
        )

    session = PipelineSession()
    tuner = HyperparameterTuner.create(
        model_trainer_dict={name: trainer(name) for name in names},
        objective_metric_name_dict=dict.fromkeys(names, "validation:rmse"),
        hyperparameter_ranges_dict={name: {"eta": ContinuousParameter(0.1, 0.9)} for name in names},
        metric_definitions_dict={
            name: [{"Name": "validation:rmse", "Regex": "validation-rmse:(.*)"}] for name in names
        },
    )
    train = InputData(channel_name="train", data_source=f"s3://{bucket}/shellfish/", content_type="text/csv")
    step = TuningStep(name="Tune", step_args=tuner.tune(inputs={name: [train] for name in names}))
    try:
        step.to_request()
    except AttributeError as error:
        return {"several": str(error)}
    return {"several": "emitted"}


if __name__ == "__main__":
    given = (sys.argv[1], sys.argv[2])
    said = pipeline(*given) | job(*given) | several_algorithms(*given)
    sys.stdout.write("\n" + json.dumps(said) + "\n")
