"""Tabular classification: one tuning job over six algorithms, refit of the best, gate on a chosen metric.

The best algorithm and its hyperparameters reach the refit step in the model archive that its trial wrote: the
tuning step knows that archive's address. Its properties cannot carry them, since the algorithms have
different hyperparameters and a reference to one that the best job lacks fails; nor can the refit ask
SageMaker, since jobs run without network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagemaker.core.workflow.functions import JsonGet
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipeline_defs.catalog import PipelineSpec, TabularClassification
from pipeline_defs.evaluation import evaluation
from pipeline_defs.gates import WIDER, Gate, Round
from pipeline_defs.model_card import Card
from pipeline_defs.parameters import common_parameters
from pipeline_defs.release import Release
from pipeline_defs.steps import StepBuilder, output_of
from pipeline_defs.tuning import Range, Search, best_archive, tuning_step

METRICS = ["accuracy", "precision", "recall", "f1", "auc"]
SCORERS = [*METRICS, "balanced_accuracy", "negative_log_loss"]
# Grid takes no continuous ranges, and Hyperband needs trials that say their score again and again.
STRATEGIES = ["Bayesian", "Random"]
Ranges = Mapping[str, Mapping[str, Range]]
RANGES: Ranges = {
    "xgboost": {
        "num_round": Range(low=20, high=300, scaling="Logarithmic"),
        "max_depth": Range(low=2, high=8),
        "eta": Range(low=0.01, high=0.3, scaling="Logarithmic"),
        "subsample": Range(low=0.5, high=1.0),
        "colsample_bytree": Range(low=0.5, high=1.0),
        "min_child_weight": Range(low=0.5, high=10.0, scaling="Logarithmic"),
        "reg_lambda": Range(low=0.01, high=10.0, scaling="Logarithmic"),
    },
    "lightgbm": {
        "num_round": Range(low=20, high=300, scaling="Logarithmic"),
        "num_leaves": Range(low=4, high=64, scaling="Logarithmic"),
        "learning_rate": Range(low=0.01, high=0.3, scaling="Logarithmic"),
        "min_data_in_leaf": Range(low=5, high=40),
        "feature_fraction": Range(low=0.5, high=1.0),
        "bagging_fraction": Range(low=0.5, high=1.0),
        "lambda_l2": Range(low=0.01, high=10.0, scaling="Logarithmic"),
    },
    "random-forest": {
        "n_estimators": Range(low=30, high=200),
        "max_depth": Range(low=3, high=16),
        "min_samples_leaf": Range(low=1, high=10),
        "max_features": Range(low=0.1, high=1.0),
    },
    "logistic-regression": {"c": Range(low=0.001, high=100.0, scaling="Logarithmic")},
    "naive-bayes": {"var_smoothing": Range(low=0.000001, high=1.0, scaling="Logarithmic")},
    "neural-net": {
        "hidden_units": Range(low=8, high=64, scaling="Logarithmic"),
        "hidden_layers": Range(low=1, high=2),
        "alpha": Range(low=0.00001, high=1.0, scaling="Logarithmic"),
        "learning_rate_init": Range(low=0.0003, high=0.03, scaling="Logarithmic"),
    },
}
# Larger models, where size can have been what was missing.
WIDER_RANGES: Ranges = {
    **RANGES,
    "xgboost": {
        **RANGES["xgboost"],
        "num_round": Range(low=20, high=1000, scaling="Logarithmic"),
        "max_depth": Range(low=2, high=14),
    },
    "lightgbm": {
        **RANGES["lightgbm"],
        "num_round": Range(low=20, high=1000, scaling="Logarithmic"),
        "num_leaves": Range(low=4, high=256, scaling="Logarithmic"),
    },
    "random-forest": {
        **RANGES["random-forest"],
        "n_estimators": Range(low=30, high=600),
        "max_depth": Range(low=3, high=30),
    },
    "neural-net": {
        **RANGES["neural-net"],
        "hidden_units": Range(low=8, high=256, scaling="Logarithmic"),
        "hidden_layers": Range(low=1, high=4),
    },
}


def build(spec: PipelineSpec) -> Pipeline:
    """The pipeline `spec`, in which every parameter is used by a step."""
    family, code = spec.family, spec.code
    if not isinstance(family, TabularClassification):
        raise TypeError(f"{spec.name} is not of this family")
    common = common_parameters(spec.name)
    dataset = ParameterString("Dataset", default_value=family.dataset, enum_values=[family.dataset])
    target = ParameterString("Target", default_value=family.target)
    test_size = ParameterFloat("TestSize", default_value=0.2)
    stratify = ParameterString("Stratify", default_value="true", enum_values=["true", "false"])
    random_state = ParameterInteger("RandomState", default_value=7)
    scorer = ParameterString("Scorer", default_value="auc", enum_values=SCORERS)
    folds = ParameterInteger("CrossValidationFolds", default_value=5)
    strategy = ParameterString("TuningStrategy", default_value="Bayesian", enum_values=STRATEGIES)
    max_jobs = ParameterInteger("MaxTuningJobs", default_value=24)
    max_parallel = ParameterInteger("MaxParallelTuningJobs", default_value=3)
    metric = ParameterString("MetricForRegistration", default_value=family.metric, enum_values=METRICS)
    threshold = ParameterFloat("MetricThreshold", default_value=family.threshold)
    # One model over several hosts is not for tables of this size: trials run side by side instead.
    shared: list[Parameter] = [item for item in common.all() if item is not common.training_count]
    parameters = [
        *shared, dataset, target, test_size, stratify, random_state, scorer, folds, strategy, max_jobs,
        max_parallel, metric, threshold,
    ]  # fmt: skip

    steps = StepBuilder(pipeline=spec.name)
    split = [
        "--dataset", dataset, "--target", target, "--test-size", test_size.to_string(), "--stratify",
        stratify, "--random-state", random_state.to_string(),
    ]  # fmt: skip
    data_report = PropertyFile(name="DataReport", output_name="report", path="data_report.json")
    validate = steps.processing(
        "ValidateData",
        module=code["ValidateCode"],
        code="ValidateCode",
        arguments=split,
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
        arguments=split,
        inputs={"data": common.input_data},
        outputs=["train", "test", "encoder"],
        instance_type=common.processing_type,
        instance_count=common.processing_count,
        depends_on=[validate],
    )
    search = Search(
        strategy=strategy,
        jobs=max_jobs,
        parallel_jobs=max_parallel,
        seed=random_state,
        static={
            "scorer": scorer,
            "folds": folds.to_string(),
            "random_state": random_state.to_string(),
        },
    )
    channels = {name: output_of(preprocess, name) for name in ("train", "encoder")}

    def attempt(suffix: str, ranges: Ranges) -> Round:
        tune = tuning_step(
            steps,
            f"TuneModels{suffix}",
            algorithms=ranges,
            search=search,
            module=code["TrialCode"],
            code="TrialCode",
            channels=channels,
            instance_type=common.training_type,
        )
        refit = steps.training(
            f"RefitModel{suffix}",
            module=code["RefitCode"],
            code="RefitCode",
            channels={**channels, "trial": best_archive(steps, tune)},
            hyperparameters={},
            metrics={},
            instance_type=common.training_type,
            instance_count=1,
        )
        model_data = refit.properties.ModelArtifacts.S3ModelArtifacts
        measured = evaluation(
            steps,
            suffix,
            module=code["EvaluateCode"],
            model_data=model_data,
            test=output_of(preprocess, "test"),
            instance_type=common.processing_type,
            arguments=["--metric", metric],
        )
        return Round(
            suffix=suffix,
            steps=[tune, refit, measured.step],
            model_data=model_data,
            training_job=refit.properties.TrainingJobArn,
            hyperparameters=measured.number("model_card.hyper_parameters"),
            evaluation=measured.folder,
            metric=measured.number("gate.value"),
            metrics={
                "metric for registration": measured.number("gate.value"),
                "baseline": measured.number("gate.baseline"),
                "rows": measured.number("rows"),
            },
        )

    releases = Release(steps=steps, common=common, code=code, data_sha256=data_sha256)

    def release(passed: Round) -> list[Any]:
        evaluated = f"EvaluateModel{passed.suffix}"
        report = f"EvaluationReport{passed.suffix}"

        def found(path: str) -> JsonGet:
            return JsonGet(step_name=evaluated, property_file=report, json_path=path)

        metadata = {
            "algorithm": found("algorithm"),
            "hyperparameters": found("hyperparameters"),
            "metric": metric,
            "metric_threshold": threshold.to_string(),
        }
        card = Card(
            purpose=family.purpose,
            intended_use="Batch scoring and single predictions for rows like those it was trained on.",
            caveats=family.caveats,
            minimize="Each algorithm its own loss; its hyperparameters by cross-validation.",
            metrics=passed.metrics,
        )
        return releases.of(passed, card=card, metadata=metadata)

    gate = Gate(
        name="Metric",
        title=metric,
        threshold=threshold,
        at_most=False,
        on_failure=common.on_gate_failure,
    )
    rounds = gate.steps(attempt("", RANGES), attempt(WIDER, WIDER_RANGES), release)
    return Pipeline(
        name=spec.name,
        parameters=parameters,
        steps=[validate, preprocess, *rounds],
        # Experiments take permissions of their own, and the registry already records each execution.
        pipeline_experiment_config=None,
        sagemaker_session=steps.session,
    )
