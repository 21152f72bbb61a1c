"""S3 addresses that a definition puts together, and whether they lead where they say.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from localcloud.sagemaker.pipelines.expressions import ExpressionError, Reference, parse_reference
from modelyard_cli.check.definitions.jobs import items, training_parts
from modelyard_cli.check.definitions.model import Definition, Step, walk
from modelyard_cli.check.registry import Hits, definition_rule

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OPEN = "\0"  # stands for a part that only a run knows
_OUTPUT = re.compile(r"ProcessingOutputConfig\.Outputs\[['\"]([^'\"]+)['\"]\]")
_NUMBERED = re.compile(r"input[-_]?\d*$", re.IGNORECASE)


def _reference(value: Any) -> Reference | None:
    try:
        return parse_reference(value["Get"]) if isinstance(value, dict) and "Get" in value else None
    except ExpressionError:
        return None


def _text(value: Any, definition: Definition) -> str:
    """A value as a text, with parameters' defaults; what only a run knows is one mark."""
    if isinstance(value, dict) and isinstance(value.get("Std:Join"), dict):
        parts = value["Std:Join"].get("Values")
        on = str(value["Std:Join"].get("On", ""))
        return on.join(_text(part, definition) for part in parts) if isinstance(parts, list) else _OPEN
    found = definition.value(value)
    if not isinstance(found, str | int | float):
        return _OPEN
    return re.sub(r"\$\{[^}]*\}", _OPEN, str(found))


@definition_rule(
    "MYP209",
    "An S3 address that cannot be one",
    "s3://BUCKET/KEY, the scheme once; buckets: 3 to 63 small letters, digits, dots, hyphens.",
)
def _addresses(definition: Definition) -> Hits:
    for step in definition.steps:
        for path, value in walk(dict(step.arguments)):
            text = _text(value, definition) if isinstance(value, str | dict) else ""
            if not text.startswith("s3:"):
                continue
            bucket = text.removeprefix("s3://").split("/", 1)[0]
            if "s3:/" in text[3:]:
                yield step.at(path), f"holds s3:// twice: {text.replace(_OPEN, '...')}"
            elif not text.startswith("s3://"):
                yield step.at(path), f"{text.replace(_OPEN, '...')} does not start with s3://"
            elif _OPEN not in bucket and not _BUCKET.fullmatch(bucket):
                yield step.at(path), f"{bucket!r} is no name of a bucket"


@definition_rule(
    "MYP112",
    "A path to a job's output that the job does not write to",
    "Take ModelArtifacts.S3ModelArtifacts of the step, or start with the job's own S3OutputPath.",
)
def _job_paths(definition: Definition) -> Hits:
    written = {step.name: _output_paths(definition, step) for step in definition.of("Training", "Tuning")}
    for step in definition.steps:
        for path, value in walk(dict(step.arguments)):
            given = value.get("Std:Join") if isinstance(value, dict) else None
            join: dict[str, Any] = given if isinstance(given, dict) else {}
            parts: Any = join.get("Values")
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                reference = _reference(part)
                if index == 0 or reference is None or not str(reference.path).endswith("TrainingJobName"):
                    continue
                before = _text({"Std:Join": {**join, "Values": parts[:index]}}, definition).rstrip("/")
                paths = written.get(reference.name) or [_OPEN]
                told = before.startswith("s3://") and not any(_OPEN in p for p in (before, *paths))
                if told and before not in paths:
                    yield step.at(path), f"{reference.name} writes under {paths[0]}, not under {before}"


def _output_paths(definition: Definition, step: Step) -> list[str]:
    return [
        _text((job.get("OutputDataConfig") or {}).get("S3OutputPath"), definition).rstrip("/")
        for owner, _, job in training_parts(definition)
        if owner is step and isinstance(job.get("OutputDataConfig"), dict)
    ]


@definition_rule(
    "MYP113",
    "A channel that reads another output than its name says",
    "Refer to the output of that name, or rename the channel: train and validation get mixed up unseen.",
)
def _mixed_up(definition: Definition) -> Hits:
    for step, path, name, value in _channels(definition):
        reference = _reference(value)
        source = definition.by_name.get(reference.name) if reference else None
        found = _OUTPUT.match(str(reference.path)) if reference else None
        if source is None or found is None or name == found[1]:
            continue
        outputs = {
            str(o.get("OutputName")) for o in items(source.arguments, "ProcessingOutputConfig", "Outputs")
        }
        if name in outputs and found[1] in outputs:
            yield (
                step.at(path),
                f"{name!r} reads the output {found[1]!r} of {source.name}, which has a {name!r}",
            )


def _channels(definition: Definition) -> Iterator[tuple[Step, str, str, Any]]:
    """(step, path, name, address) of every input that reads from S3."""
    for step in definition.of("Processing"):
        for index, item in enumerate(items(step.arguments, "ProcessingInputs")):
            source = item.get("S3Input")
            if isinstance(source, dict):
                name = str(item.get("InputName"))
                if _NUMBERED.match(name):
                    name = str(source.get("LocalPath")).rstrip("/").rsplit("/", 1)[-1]
                yield step, f"Arguments.ProcessingInputs[{index}]", name, source.get("S3Uri")
    for step, at, job in training_parts(definition):
        for index, item in enumerate(items(job, "InputDataConfig")):
            source = (item.get("DataSource") or {}).get("S3DataSource")
            if isinstance(source, dict):
                yield (
                    step,
                    f"{at}.InputDataConfig[{index}]",
                    str(item.get("ChannelName")),
                    source.get("S3Uri"),
                )
