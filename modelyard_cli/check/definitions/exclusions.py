"""Settings of jobs that exclude or require each other.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.model import Definition, literal
from modelyard_cli.check.registry import Hits, definition_rule

_TAKEN = ("/opt/ml/model", "/opt/ml/output", "/opt/ml/input", "/opt/ml/code")
_MOUNTS = "/opt/ml/processing/"


@definition_rule(
    "MYP512",
    "Settings of a job that exclude or require each other",
    "Instance groups or a type; warm pools or spot; file systems in a VPC; one container or several; "
    "checkpoints in a folder of their own.",
)
def _settings(definition: Definition) -> Hits:
    for step, at, job in training_parts(definition):
        for path, message in _training(definition, job):
            yield step.at(f"{at}.{path}"), message
    for step in definition.of("Model"):
        if "PrimaryContainer" in step.arguments and "Containers" in step.arguments:
            yield step.at("Arguments.Containers"), "stands beside PrimaryContainer: a model has either"


def _training(definition: Definition, job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    given = job.get("ResourceConfig")
    resources: dict[str, Any] = given if isinstance(given, dict) else {}
    if resources.get("InstanceGroups") and ("InstanceType" in resources or "InstanceCount" in resources):
        yield "ResourceConfig", "has InstanceGroups beside InstanceType or InstanceCount"
    if (
        resources.get("KeepAlivePeriodInSeconds")
        and definition.value(job.get("EnableManagedSpotTraining")) is True
    ):
        yield "ResourceConfig.KeepAlivePeriodInSeconds", "keeps a warm pool, which spot training excludes"
    for index, channel in enumerate(items(job, "InputDataConfig")):
        source = channel.get("DataSource")
        if isinstance(source, dict) and source.get("FileSystemDataSource") and not job.get("VpcConfig"):
            yield f"InputDataConfig[{index}]", "reads from a file system, which needs a VpcConfig"
    checkpoints = job.get("CheckpointConfig")
    folder = checkpoints.get("LocalPath") if isinstance(checkpoints, dict) else None
    if literal(folder) and f"{folder}/".startswith(tuple(f"{taken}/" for taken in _TAKEN)):
        yield "CheckpointConfig.LocalPath", f"{folder} is a folder that SageMaker uses itself"


@definition_rule(
    "MYP513",
    "A script that no input of its step brings",
    "Start the script from the LocalPath of the input that holds it.",
)
def _scripts(definition: Definition) -> Hits:
    for step in definition.of("Processing"):
        entry = step.arguments.get("AppSpecification")
        command = entry.get("ContainerEntrypoint") if isinstance(entry, dict) else None
        folders = [
            (item.get("S3Input") or {}).get("LocalPath") for item in items(step.arguments, "ProcessingInputs")
        ]
        # Without an input of code, the script is part of the image.
        brings = any(re.search(r"/(code|entrypoint)/?$", str(folder)) for folder in folders)
        if not isinstance(command, list) or not brings or not all(map(literal, folders)):
            continue
        for part in command:
            script = (
                isinstance(part, str) and part.startswith(_MOUNTS) and part.endswith((".py", ".sh", ".R"))
            )
            if script and not any(part.startswith(f"{str(folder).rstrip('/')}/") for folder in folders):
                yield step.at("Arguments.AppSpecification.ContainerEntrypoint"), f"no input brings {part}"
