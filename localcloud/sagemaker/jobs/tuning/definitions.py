"""The training job definitions of a tuning job, single or several, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.containers.public_images.metrics import algorithm_metrics
from localcloud.sagemaker.errors import validation
from localcloud.sagemaker.jobs.storage import join_uri
from localcloud.sagemaker.jobs.tuning.ranges import Range, parse_ranges
from localcloud.sagemaker.jobs.tuning.search import Values

# AWS gives it to every container, and its SDK wants it among the static hyperparameters of a tuning job.
OBJECTIVE_PARAMETER = "_tuning_objective_metric"
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
_COPIED = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One training job definition with the objective and the ranges that hold for it."""

    name: str | None
    body: Mapping[str, Any]
    metric: str
    maximize: bool
    ranges: tuple[Range, ...]

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that the log is read for: as defined, or as AWS's image brings them."""
        algorithm = self.body["AlgorithmSpecification"]
        defined = algorithm.get("MetricDefinitions")
        found = defined or algorithm_metrics(algorithm.get("TrainingImage", ""), self.static)
        return [item["Name"] for item in found]

    @property
    def static(self) -> dict[str, str]:
        """The hyperparameters that every training job gets."""
        return {**self.body.get("StaticHyperParameters", {}), OBJECTIVE_PARAMETER: self.metric}

    def training_request(self, name: str, values: Values) -> dict[str, Any]:
        """The CreateTrainingJob request of one configuration."""
        request = {member: self.body[member] for member in _COPIED if member in self.body}
        checkpoints = self.body.get("CheckpointConfig")
        if checkpoints:
            # A job must not go on from the checkpoint of another configuration.
            request["CheckpointConfig"] = {**checkpoints, "S3Uri": join_uri(checkpoints["S3Uri"], name)}
        if "ResourceConfig" not in request:
            request["ResourceConfig"] = _resources(self.body["HyperParameterTuningResourceConfig"])
        return {**request, "TrainingJobName": name, "HyperParameters": {**self.static, **values}}


def definitions_of(job: Mapping[str, Any]) -> list[Definition]:
    """Read the definitions of a request or of a stored tuning job.

    Raises:
        ServiceError: ValidationException where objective or ranges are missing, doubled, or wrong.
    """
    if "TrainingJobDefinition" in job and "TrainingJobDefinitions" in job:
        raise validation("Provide either TrainingJobDefinition or TrainingJobDefinitions, not both.")
    config = job["HyperParameterTuningJobConfig"]
    if "TrainingJobDefinitions" in job:
        return _several(job["TrainingJobDefinitions"], config)
    if "TrainingJobDefinition" not in job:
        raise validation("Either TrainingJobDefinition or TrainingJobDefinitions is required.")
    return [_single(job["TrainingJobDefinition"], config)]


def _single(body: Mapping[str, Any], config: Mapping[str, Any]) -> Definition:
    place = "HyperParameterTuningJobConfig"
    objective = _either(
        config.get("HyperParameterTuningJobObjective"),
        body.get("TuningObjective"),
        f"{place}.HyperParameterTuningJobObjective",
        "TrainingJobDefinition.TuningObjective",
    )
    ranges = _either(
        config.get("ParameterRanges"),
        body.get("HyperParameterRanges"),
        f"{place}.ParameterRanges",
        "TrainingJobDefinition.HyperParameterRanges",
    )
    return _definition(body, objective, ranges, f"{place}.ParameterRanges")


def _several(bodies: list[Mapping[str, Any]], config: Mapping[str, Any]) -> list[Definition]:
    for member, instead in (
        ("HyperParameterTuningJobObjective", "TuningObjective"),
        ("ParameterRanges", "HyperParameterRanges"),
    ):
        if member in config:
            raise validation(
                f"HyperParameterTuningJobConfig.{member} is not used with TrainingJobDefinitions; give each "
                f"definition its {instead}."
            )
    found = []
    for number, body in enumerate(bodies, 1):
        name = body.get("DefinitionName")
        if name is None:
            raise validation(f"TrainingJobDefinitions: definition {number} has no DefinitionName.")
        place = f"TrainingJobDefinitions {name}"
        if "TuningObjective" not in body:
            raise validation(f"{place}: TuningObjective is required.")
        ranges = body.get("HyperParameterRanges", {})
        found.append(_definition(body, body["TuningObjective"], ranges, f"{place}.HyperParameterRanges"))
    names = [definition.name for definition in found]
    if len(set(names)) < len(names):
        raise validation(
            f"TrainingJobDefinitions: each DefinitionName may be given once: {', '.join(map(str, names))}."
        )
    if len({definition.maximize for definition in found}) > 1:
        raise validation("TrainingJobDefinitions: every TuningObjective must have the same Type.")
    return found


def _definition(
    body: Mapping[str, Any], objective: Mapping[str, str], ranges: Mapping[str, Any], place: str
) -> Definition:
    return Definition(
        name=body.get("DefinitionName"),
        body=body,
        metric=objective["MetricName"],
        maximize=objective["Type"] == "Maximize",
        ranges=parse_ranges(ranges, place),
    )


def _either(first: Any, second: Any, name: str, other: str) -> Any:
    if first is not None and second is not None:
        raise validation(f"Provide either {name} or {other}, not both.")
    if first is None and second is None:
        raise validation(f"{name} is required.")
    return second if first is None else first


def _resources(config: Mapping[str, Any]) -> dict[str, Any]:
    # Prioritized: the first of the list; there is always room for it here.
    chosen = {**config, **config["InstanceConfigs"][0]} if config.get("InstanceConfigs") else config
    members = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
    return {member: chosen[member] for member in members if member in chosen}
