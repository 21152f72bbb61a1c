"""Processing and training jobs: what the API's shapes do not say.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.definitions.model import Definition, Step, literal
from modelyard_cli.check.registry import Advice, Hits, definition_rule
from modelyard_cli.check.secrets import SECRET

_PROCESSING_ROOT = "/opt/ml/processing"
_SECRET_NAME = re.compile(r"(password|passwd|secret|api_?key|access_?key|token)$", re.IGNORECASE)
_MAX_METRICS = 40


def items(value: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list deep in arguments."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def training_parts(definition: Definition) -> Iterator[tuple[Step, str, dict[str, Any]]]:
    """(step, path, arguments) of everything that trains: training steps and the jobs of tuning steps."""
    for step in definition.of("Training", "Tuning"):
        if step.type == "Training":
            yield step, "Arguments", dict(step.arguments)
            continue
        one = step.arguments.get("TrainingJobDefinition")
        if isinstance(one, dict):
            yield step, "Arguments.TrainingJobDefinition", one
        for index, job in enumerate(items(step.arguments, "TrainingJobDefinitions")):
            yield step, f"Arguments.TrainingJobDefinitions[{index}]", job


@definition_rule(
    "MYP501",
    "A path in a processing container that nothing mounts",
    f"Inputs and outputs lie under {_PROCESSING_ROOT}.",
)
def _local_paths(definition: Definition) -> Hits:
    for step in definition.of("Processing"):
        for at, path in _paths(step):
            if literal(path) and not (path + "/").startswith(_PROCESSING_ROOT + "/"):
                yield step.at(at), f"{path} lies outside {_PROCESSING_ROOT}"


def _paths(step: Step) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(items(step.arguments, "ProcessingInputs")):
        for member in ("S3Input", "DatasetDefinition"):
            path = item.get(member, {}).get("LocalPath") if isinstance(item.get(member), dict) else None
            if isinstance(path, str):
                yield f"Arguments.ProcessingInputs[{index}].{member}.LocalPath", path
    for index, item in enumerate(items(step.arguments, "ProcessingOutputConfig", "Outputs")):
        path = item.get("S3Output", {}).get("LocalPath") if isinstance(item.get("S3Output"), dict) else None
        if isinstance(path, str):
            yield f"Arguments.ProcessingOutputConfig.Outputs[{index}].S3Output.LocalPath", path


@definition_rule(
    "MYP502",
    "Two inputs or outputs share a path in the container",
    "Give each a folder of its own, none within another.",
)
def _overlaps(definition: Definition) -> Hits:
    for step in definition.of("Processing"):
        seen: list[str] = []
        for at, path in _paths(step):
            folder = path.rstrip("/") + "/"
            clash = next(
                (other for other in seen if folder.startswith(other) or other.startswith(folder)), None
            )
            if clash:
                yield step.at(at), f"{path} overlaps with {clash}"
            seen.append(folder)


@definition_rule(
    "MYP503",
    "A name is used twice",
    "Give inputs, outputs, channels, metrics and definitions names of their own.",
)
def _duplicates(definition: Definition) -> Hits:
    for step in definition.steps:
        arguments = dict(step.arguments)
        for path, member in (
            (("ProcessingInputs",), "InputName"),
            (("ProcessingOutputConfig", "Outputs"), "OutputName"),
            (("TrainingJobDefinitions",), "DefinitionName"),
        ):
            yield from _twice(step, "Arguments." + ".".join(path), items(arguments, *path), member)
    for step, at, job in training_parts(definition):
        yield from _twice(step, f"{at}.InputDataConfig", items(job, "InputDataConfig"), "ChannelName")
        yield from _twice(
            step,
            f"{at}.AlgorithmSpecification.MetricDefinitions",
            items(job, "AlgorithmSpecification", "MetricDefinitions"),
            "Name",
        )


def _twice(step: Step, at: str, found: list[dict[str, Any]], member: str) -> Hits:
    for name, count in Counter(
        str(item[member]) for item in found if isinstance(item.get(member), str)
    ).items():
        if count > 1:
            yield step.at(at), f"{count} items have the {member} {name!r}"


@definition_rule(
    "MYP504",
    "A processing output that goes nowhere",
    "Give it an S3Output with S3Uri and LocalPath, or a FeatureStoreOutput; the other way round "
    "for an input.",
)
def _nowhere(definition: Definition) -> Hits:
    for step in definition.of("Processing"):
        for index, item in enumerate(items(step.arguments, "ProcessingOutputConfig", "Outputs")):
            if not item.get("S3Output") and not item.get("FeatureStoreOutput"):
                yield (
                    step.at(f"Arguments.ProcessingOutputConfig.Outputs[{index}]"),
                    "has no destination: it is never uploaded",
                )
        for index, item in enumerate(items(step.arguments, "ProcessingInputs")):
            if not item.get("S3Input") and not item.get("DatasetDefinition"):
                yield step.at(f"Arguments.ProcessingInputs[{index}]"), "has no source"


@definition_rule(
    "MYP505",
    "Managed spot training with times that do not fit",
    "Set EnableManagedSpotTraining, and MaxWaitTimeInSeconds of at least MaxRuntimeInSeconds.",
)
def _spot(definition: Definition) -> Hits:
    for step, at, job in training_parts(definition):
        condition = job.get("StoppingCondition") if isinstance(job.get("StoppingCondition"), dict) else {}
        assert isinstance(condition, dict)
        spot = definition.value(job.get("EnableManagedSpotTraining"))
        wait, runtime = (
            definition.value(condition.get(m)) for m in ("MaxWaitTimeInSeconds", "MaxRuntimeInSeconds")
        )
        if spot is True and "MaxWaitTimeInSeconds" not in condition:
            yield step.at(f"{at}.StoppingCondition"), "spot training needs MaxWaitTimeInSeconds"
        if isinstance(wait, int) and isinstance(runtime, int) and wait < runtime:
            yield (
                step.at(f"{at}.StoppingCondition"),
                f"MaxWaitTimeInSeconds {wait} is less than MaxRuntimeInSeconds {runtime}",
            )
        if "MaxWaitTimeInSeconds" in condition and job.get("EnableManagedSpotTraining") in (None, False):
            yield step.at(f"{at}.StoppingCondition"), "MaxWaitTimeInSeconds is for spot training only"


@definition_rule(
    "MYP506",
    "Spot training without checkpoints",
    "Add a CheckpointConfig: an interruption otherwise starts the training anew.",
)
def _checkpoints(definition: Definition) -> Hits:
    for step, at, job in training_parts(definition):
        if definition.value(job.get("EnableManagedSpotTraining")) is True and not job.get("CheckpointConfig"):
            yield step.at(at), Advice("EnableManagedSpotTraining without CheckpointConfig")


@definition_rule(
    "MYP507",
    "A metric definition that finds nothing",
    f"At most {_MAX_METRICS}; each Regex compiles and has one group that catches the number.",
)
def _metrics(definition: Definition) -> Hits:
    for step, at, job in training_parts(definition):
        found = items(job, "AlgorithmSpecification", "MetricDefinitions")
        path = f"{at}.AlgorithmSpecification.MetricDefinitions"
        if len(found) > _MAX_METRICS:
            yield step.at(path), f"has {len(found)} items, the limit is {_MAX_METRICS}"
        for index, item in enumerate(found):
            pattern = item.get("Regex")
            try:
                if isinstance(pattern, str) and re.compile(pattern).groups < 1:
                    yield step.at(f"{path}[{index}].Regex"), f"{pattern!r} has no group: it catches no number"
            except re.error as error:
                yield step.at(f"{path}[{index}].Regex"), f"{pattern!r} does not compile: {error}"


@definition_rule(
    "MYP508",
    "Data is shared out in a way that fits no instance count",
    "ShardedByS3Key needs several instances; several instances that read one small file want "
    "FullyReplicated.",
)
def _sharding(definition: Definition) -> Hits:
    for step in definition.of("Processing", "Training"):
        if step.type == "Processing":
            count = (
                (step.arguments.get("ProcessingResources") or {})
                .get("ClusterConfig", {})
                .get("InstanceCount")
            )
            sources = [i.get("S3Input") or {} for i in items(step.arguments, "ProcessingInputs")]
        else:
            count = (step.arguments.get("ResourceConfig") or {}).get("InstanceCount")
            sources = [
                (i.get("DataSource") or {}).get("S3DataSource") or {}
                for i in items(step.arguments, "InputDataConfig")
            ]
        if count != 1:
            continue
        for source in sources:
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                yield step.at(), "ShardedByS3Key on one instance: nothing is shared out"


@definition_rule(
    "MYP509",
    "A secret written into a definition",
    "Read it from Secrets Manager in the container: definitions are shown to everybody who may "
    "describe the pipeline.",
)
def _secrets(definition: Definition) -> Hits:
    for step in definition.steps:
        arguments = dict(step.arguments)
        found: list[tuple[str, Any]] = []
        for member in ("Environment", "HyperParameters"):
            values = arguments.get(member)
            found += (
                [(f"Arguments.{member}.{k}", v) for k, v in values.items()]
                if isinstance(values, dict)
                else []
            )
        for path, value in found:
            if not isinstance(value, str) or not literal(value) or len(value) < 8:
                continue
            if SECRET.search(value) or (_SECRET_NAME.search(path) and not value.startswith("arn:")):
                yield step.at(path), "holds what looks like a secret"


@definition_rule(
    "MYP510",
    "A time limit of a job that the service does not allow",
    "Processing jobs: at most 5 days; training: at most 28 days; allow at least a minute.",
)
def _times(definition: Definition) -> Hits:
    for step in definition.of("Processing", "Training"):
        runtime = definition.value((step.arguments.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"))
        limit = 432_000 if step.type == "Processing" else 2_419_200
        if isinstance(runtime, int) and not 60 <= runtime <= limit:
            yield (
                step.at("Arguments.StoppingCondition"),
                f"MaxRuntimeInSeconds {runtime} is not within 60 to {limit}",
            )


@definition_rule(
    "MYP511",
    "Network isolation of a job that needs the network",
    "Drop the isolation, or bring through an input what the container would fetch from the address.",
)
def _isolation(definition: Definition) -> Hits:
    for step in definition.of("Training"):
        uris = [str(v) for v in (step.arguments.get("Environment") or {}).values()]
        if definition.value(step.arguments.get("EnableNetworkIsolation")) is True and any(
            u.startswith(("http://", "https://")) for u in uris
        ):
            yield (
                step.at("Arguments.EnableNetworkIsolation"),
                "the environment names an address that an isolated container cannot reach",
            )
    for step in definition.of("Processing"):
        network = step.arguments.get("NetworkConfig") or {}
        uris = [str(v) for v in (step.arguments.get("Environment") or {}).values()]
        if network.get("EnableNetworkIsolation") is True and any(
            u.startswith(("http://", "https://")) for u in uris
        ):
            yield (
                step.at("Arguments.NetworkConfig"),
                "the environment names an address that an isolated container cannot reach",
            )
