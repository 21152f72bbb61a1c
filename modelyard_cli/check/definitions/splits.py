"""Parts of the data that were split: what trains, what is held out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from localcloud.sagemaker.pipelines.expressions import ExpressionError, parse_reference
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.model import Definition, Step
from modelyard_cli.check.registry import Hits, definition_rule

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "holdout", "eval"}


@definition_rule(
    "MYP514",
    "One part of the data under the name of another",
    "Connect each input or channel with the output of its name: what trains a model cannot judge it.",
)
def _crossed(definition: Definition) -> Hits:
    for step, path, names, uri in _inputs(definition):
        found = _output(definition, uri)
        if found is None:
            continue
        writer, output = found
        outputs = {
            str(i.get("OutputName")) for i in items(writer.arguments, "ProcessingOutputConfig", "Outputs")
        }
        for name in names:
            # Only where an output of that very name is there to be meant.
            if {name, output} <= _SPLITS & outputs and name != output and output not in names:
                yield (
                    step.at(path),
                    f"{name!r} reads the output {output!r} of {writer.name}, which has {name!r}",
                )
                break


def _inputs(definition: Definition) -> Iterator[tuple[Step, str, list[str], Any]]:
    """(step, path, names in the container, address) of every input and channel."""
    for step in definition.of("Processing"):
        for index, item in enumerate(items(step.arguments, "ProcessingInputs")):
            source = item.get("S3Input")
            if isinstance(source, dict):
                folder = PurePosixPath(str(source.get("LocalPath", ""))).name
                names = list(dict.fromkeys((str(item.get("InputName")), folder)))
                yield step, f"Arguments.ProcessingInputs[{index}].S3Input.S3Uri", names, source.get("S3Uri")
    for step, at, job in training_parts(definition):
        for index, item in enumerate(items(job, "InputDataConfig")):
            source = item.get("DataSource")
            source = source.get("S3DataSource") if isinstance(source, dict) else None
            if isinstance(source, dict):
                path = f"{at}.InputDataConfig[{index}].DataSource.S3DataSource.S3Uri"
                yield step, path, [str(item.get("ChannelName"))], source.get("S3Uri")


def _output(definition: Definition, uri: Any) -> tuple[Step, str] | None:
    """The step and its output that an address refers to."""
    try:
        reference = parse_reference(uri.get("Get") if isinstance(uri, dict) else None)
        parts = parse_path(reference.path) if reference.root == "Steps" else ()
    except (ExpressionError, PathError):
        return None
    writer = definition.by_name.get(reference.name)
    if writer is None or parts[:2] != ("ProcessingOutputConfig", "Outputs") or len(parts) < 3:
        return None
    return writer, str(parts[2])
