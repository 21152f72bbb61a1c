"""Caches and retries.

https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

from __future__ import annotations

import json
import re

from localcloud.sagemaker.pipelines import durations
from localcloud.sagemaker.pipelines.problems import Problems
from localcloud.sagemaker.pipelines.step_options import parse_retries
from localcloud.sagemaker.pipelines.step_types import STEP_TYPES
from modelyard_cli.check.definitions.model import Definition, walk
from modelyard_cli.check.registry import Advice, Hits, definition_rule

# What counts for a hit: the arguments that AWS lists per type.
_TUNING_KEYS = frozenset(
    {"HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions", "WarmStartConfig"}
)
_VARYING = re.compile(
    r'"Execution\.(CurrentDateTime|StartDateTime|PipelineExecutionId|PipelineExecutionArn|TrainingJobName|ProcessingJobName)"'
)
_STAMP = re.compile(
    r"\b20[2-9]\d-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])[T_-]?\d{2}[:-]?\d{2}([:-]?\d{2})?([.-]\d{3})?\b"
)
_RETRY_MEMBERS = "RetryPolicies"


@definition_rule(
    "MYP401",
    "A cached step whose key changes with every run",
    "Keep times and execution ids out of inputs, environment and arguments: put them into output "
    "paths, which do not count.",
)
def _varying(definition: Definition) -> Hits:
    for step in definition.steps:
        if not step.cached:
            continue
        counted = (
            _TUNING_KEYS
            if step.type == "Tuning"
            else STEP_TYPES[step.type].cache_key
            if step.type in STEP_TYPES
            else frozenset()
        )
        for name in sorted(counted & set(step.arguments)):
            # The outputs within a tuning job's definition do not count either.
            value = step.arguments[name]
            text = json.dumps(dict(_without_outputs(value)) if isinstance(value, dict) else value)
            if found := _VARYING.search(text):
                yield (
                    step.at(f"Arguments.{name}"),
                    f"Execution.{found[1]} is another one in every execution: no run ever hits the cache",
                )


def _without_outputs(value: dict[str, object]) -> list[tuple[str, object]]:
    return [(k, v) for k, v in value.items() if k != "OutputDataConfig"]


@definition_rule(
    "MYP402",
    "A time stamp in what counts for the cache",
    "Name inputs and code by their content, not by when they were made.",
)
def _stamps(definition: Definition) -> Hits:
    for step in definition.steps:
        counted = STEP_TYPES[step.type].cache_key if step.type in STEP_TYPES else frozenset()
        for name in sorted(counted & set(step.arguments)) if step.cached else ():
            for path, value in walk(step.arguments[name], f"Arguments.{name}"):
                if isinstance(value, str) and (found := _STAMP.search(value)) and not path.endswith("Image"):
                    yield (
                        step.at(path),
                        f"{found[0]} looks like the time of a build: each build misses the cache",
                    )


@definition_rule(
    "MYP403",
    "A cache that is configured wrongly",
    'Write {"Enabled": true, "ExpireAfter": "P30D"} on a step of a type that is cached.',
)
def _config(definition: Definition) -> Hits:
    for step in definition.steps:
        config = step.body.get("CacheConfig")
        if config is None:
            continue
        at = step.at("CacheConfig")
        if (
            not isinstance(config, dict)
            or not isinstance(config.get("Enabled"), bool)
            or set(config) - {"Enabled", "ExpireAfter"}
        ):
            yield at, f"{config!r} is no cache configuration"
            continue
        if config["Enabled"] and step.type in STEP_TYPES and not STEP_TYPES[step.type].caches:
            yield at, f"steps of type {step.type} are never cached"
        expiry = config.get("ExpireAfter")
        try:
            if expiry is not None and (not isinstance(expiry, str) or durations.seconds(expiry) <= 0):
                yield at, f"ExpireAfter {expiry!r} is no positive duration"
        except ValueError as error:
            yield at, f"ExpireAfter {error}"


@definition_rule(
    "MYP404",
    "Two steps, or every run of a cached step, write to one place",
    "Put the execution id and the step's name into the path: a cache hit names outputs that a "
    "later run has overwritten.",
)
def _shared_outputs(definition: Definition) -> Hits:
    seen: dict[str, str] = {}
    for step in definition.steps:
        for path, value in walk(dict(step.arguments)):
            if not re.search(
                r"Outputs\[\d+\]\.S3Output\.S3Uri$|OutputDataConfig\.S3OutputPath$|TransformOutput\.S3OutputPath$",
                path,
            ):
                continue
            text = json.dumps(value)
            if (
                text in seen
                and seen[text] != step.name
                and "Get" not in text.replace("Parameters.", "")
                and step.type == "Processing"
            ):
                yield step.at(path), f"{seen[text]} writes to the same place"
            elif text in seen and seen[text] == step.name and step.type == "Processing":
                yield step.at(path), "two outputs of this step go to the same place"
            seen.setdefault(text, step.name)
            if (
                step.cached
                and step.type == "Processing"
                and not re.search(r"Execution\.|\$\{|Parameters\.|Steps\.", text)
            ):
                yield step.at(path), Advice("is the same in every execution, while the step is cached")


@definition_rule(
    "MYP405",
    "A retry policy outside its bounds",
    "IntervalSeconds at most 43200, MaxAttempts 1 to 20 or ExpireAfterMin at most 14400, "
    "ExceptionType of the list that AWS documents.",
)
def _retries(definition: Definition) -> Hits:
    for step in definition.steps:
        if _RETRY_MEMBERS not in step.body:
            continue
        if step.type in STEP_TYPES and not STEP_TYPES[step.type].retries:
            yield step.at(_RETRY_MEMBERS), f"steps of type {step.type} take no retry policies"
            continue
        problems = Problems()
        parse_retries("", dict(step.body), problems)
        for line in problems.lines:
            yield step.at(_RETRY_MEMBERS), line.lstrip(": ")
        for index, policy in enumerate(p for p in step.body[_RETRY_MEMBERS] or [] if isinstance(p, dict)):
            rate = policy.get("BackoffRate")
            if isinstance(rate, int | float) and rate < 1:
                yield (
                    step.at(f"{_RETRY_MEMBERS}[{index}].BackoffRate"),
                    f"{rate} makes each wait shorter than the one before",
                )
