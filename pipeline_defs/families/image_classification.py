"""Image classification: validate, preprocess, train on one host or several, evaluate, gate on top-1 accuracy.

Data is a folder of class folders. A batch is a folder of images; the answer to `<name>` goes to `<name>.out`.
The wider round trains a larger backbone, for longer; both are parameters, as they are of the first round.
"""

from __future__ import annotations

from typing import Any

from sagemaker.core.workflow.functions import JsonGet
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipeline_defs.catalog import ImageClassification, PipelineSpec
from pipeline_defs.evaluation import evaluation
from pipeline_defs.gates import WIDER, Gate, Round
from pipeline_defs.model_card import Card
from pipeline_defs.parameters import common_parameters
from pipeline_defs.release import PICTURES, Release
from pipeline_defs.steps import StepBuilder, output_of

BATCH_SIZE = 256
LEARNING_RATE = 0.002896533293199136
# Without training's third way, `channel`: a channel of weights is something a definition has or has not.
PRETRAINED = ["none", "packaged"]
SHARES = ["--validation-share", "0.1", "--test-share", "0.1"]
METRICS = {
    "train:loss": r"train-loss:([0-9.eE+-]+)",
    "validation:top1": r"validation-top1:([0-9.eE+-]+)",
}
TRAINING_LIMIT_S = 4 * 3600


def build(spec: PipelineSpec) -> Pipeline:
    """The pipeline `spec`, in which every parameter is used by a step."""
    family, code = spec.family, spec.code
    if not isinstance(family, ImageClassification):
        raise TypeError(f"{spec.name} is not of this family")
    common = common_parameters(spec.name, batch="")
    image_size = ParameterInteger("ImageSize", default_value=family.image_size)
    backbone = ParameterString("Backbone", default_value=family.backbone)
    weights = ParameterString("PretrainedWeights", default_value="none", enum_values=PRETRAINED)
    epochs = ParameterInteger("Epochs", default_value=family.epochs)
    batch_size = ParameterInteger("BatchSize", default_value=BATCH_SIZE)
    learning_rate = ParameterFloat("LearningRate", default_value=LEARNING_RATE)
    wider_backbone = ParameterString("WiderBackbone", default_value=family.wider_backbone)
    wider_epochs = ParameterInteger("WiderEpochs", default_value=family.wider_epochs)
    # Of its own, as its backbone is: the packaged weights are of one network, and another refuses them.
    wider_weights = ParameterString("WiderPretrainedWeights", default_value="none", enum_values=PRETRAINED)
    threshold = ParameterFloat("Top1Threshold", default_value=family.top1_threshold)
    parameters: list[Parameter] = [
        *common.all(), image_size, backbone, weights, epochs, batch_size, learning_rate, wider_backbone,
        wider_weights, wider_epochs, threshold,
    ]  # fmt: skip

    steps = StepBuilder(pipeline=spec.name)
    data_report = PropertyFile(name="DataReport", output_name="report", path="data_report.json")
    validate = steps.processing(
        "ValidateData",
        module=code["ValidateCode"],
        code="ValidateCode",
        arguments=[],
        inputs={"data": common.input_data},
        outputs=["report"],
        instance_type=common.processing_type,
        property_files=[data_report],
    )
    data_sha256 = JsonGet(step_name=validate.name, property_file=data_report, json_path="sha256")
    preprocess = steps.processing(
        "PreprocessData",
        module=code["PreprocessCode"],
        code="PreprocessCode",
        arguments=["--image-size", image_size.to_string(), *SHARES],
        inputs={"data": common.input_data},
        outputs=["train", "validation", "test", "classes", "quarantine"],
        instance_type=common.processing_type,
        instance_count=common.processing_count,
        depends_on=[validate],
    )

    def attempt(
        suffix: str, backbone: ParameterString, weights: ParameterString, epochs: ParameterInteger
    ) -> Round:
        hyperparameters = {
            "backbone": backbone,
            "pretrained": weights,
            "image_size": image_size.to_string(),
            "epochs": epochs.to_string(),
            "batch_size": batch_size.to_string(),
            "learning_rate": learning_rate.to_string(),
            "augment": family.augment,
            "seed": 7,
        }
        train = steps.training(
            f"TrainModel{suffix}",
            module=code["TrainCode"],
            code="TrainCode",
            channels={name: output_of(preprocess, name) for name in ("train", "validation", "classes")},
            hyperparameters=hyperparameters,
            metrics=METRICS,
            instance_type=common.training_type,
            instance_count=common.training_count,
            max_runtime_s=TRAINING_LIMIT_S,
            accelerated=True,
        )
        model_data = train.properties.ModelArtifacts.S3ModelArtifacts
        measured = evaluation(
            steps,
            suffix,
            module=code["EvaluateCode"],
            model_data=model_data,
            test=output_of(preprocess, "test"),
            instance_type=common.processing_type,
        )
        return Round(
            suffix=suffix,
            steps=[train, measured.step],
            model_data=model_data,
            training_job=train.properties.TrainingJobArn,
            hyperparameters=hyperparameters,
            evaluation=measured.folder,
            metric=measured.number("classification_metrics.top1.value"),
            metrics={
                "top-1 accuracy": measured.number("classification_metrics.top1.value"),
                "top-5 accuracy": measured.number("classification_metrics.top5.value"),
                "baseline top-1 accuracy": measured.number("baseline.top1.value"),
                "images": measured.number("rows"),
            },
        )

    releases = Release(steps=steps, common=common, code=code, data_sha256=data_sha256, form=PICTURES)

    def release(passed: Round) -> list[Any]:
        card = Card(
            purpose=family.purpose,
            intended_use="Batch scoring of images like those it was trained on.",
            caveats=family.caveats,
            minimize="Cross-entropy of the predicted class.",
            metrics=passed.metrics,
            unit="images",
        )
        metadata = {
            "backbone": passed.hyperparameters["backbone"],
            "metric": "top1",
            "metric_threshold": threshold.to_string(),
        }
        return releases.of(passed, card=card, metadata=metadata)

    gate = Gate(
        name="Top1",
        title="Top-1 accuracy",
        threshold=threshold,
        at_most=False,
        on_failure=common.on_gate_failure,
    )
    first = attempt("", backbone, weights, epochs)
    wider = attempt(WIDER, wider_backbone, wider_weights, wider_epochs)
    rounds = gate.steps(first, wider, release)
    return Pipeline(
        name=spec.name,
        parameters=parameters,
        steps=[validate, preprocess, *rounds],
        # Experiments take permissions of their own, and the registry already records each execution.
        pipeline_experiment_config=None,
        sagemaker_session=steps.session,
    )
