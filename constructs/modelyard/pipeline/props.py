"""What a pipeline can be told."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.archives import zip_of
from modelyard.pipeline.runtime.definition import render
from modelyard.pipeline.runtime.errors import PipelineError
from modelyard.pipeline.runtime.request import Desired

if TYPE_CHECKING:
    from modelyard.storage import IDataBucket

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z][A-Za-z0-9]*)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineDefinition:
    """A pipeline definition as a file under version control.

    Args:
        path: The JSON, with `${Name}` where a value is known only at deployment.
        parameter_defaults: Defaults of pipeline parameters that differ from the file's, as text.
        parallelism: Most steps of one execution that run at the same time.
        description: Shown in SageMaker.

    Raises:
        ValueError: The file does not exist, or `parallelism` is below 1.
    """

    path: Path
    parameter_defaults: Mapping[str, str] = field(default_factory=dict)
    parallelism: int = 4
    description: str = ""

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise ValueError(f"pipeline definition {self.path} does not exist")
        if self.parallelism < 1:
            raise ValueError(f"PipelineDefinition.parallelism is {self.parallelism}; give at least 1")

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of the `${Name}` in the file."""
        return frozenset(_PLACEHOLDER.findall(self.path.read_text(encoding="utf-8")))

    @property
    def step_types(self) -> frozenset[str]:
        """Types of all steps in the file, those in the branches of conditions included."""
        types: set[str] = set()
        pending = [json.loads(self.path.read_bytes()).get("Steps", [])]
        while pending:
            for step in pending.pop():
                types.add(step["Type"])
                if step["Type"] == "Condition":
                    pending += [step["Arguments"].get(branch, []) for branch in ("IfSteps", "ElseSteps")]
        return frozenset(types)

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes, which the custom resource checks."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def check(self, *, pipeline: str, given: frozenset[str]) -> None:
        """Does at synth what the custom resource does at deployment, with stand-ins for the values.

        Args:
            pipeline: Name of the pipeline.
            given: Names of the placeholders that will have a value.

        Raises:
            ValueError: Placeholder without value, value without placeholder, broken reference, unknown
                parameter, default of a wrong type or outside its enumeration; the message names step or
                parameter.
        """
        desired = Desired(
            name=pipeline,
            role_arn="",
            bucket="",
            key="",
            sha256=self.sha256,
            code_bucket="",
            code_prefix="",
            parallelism=self.parallelism,
            description=self.description,
            values=dict.fromkeys(given, "stand-in"),
            defaults=self.parameter_defaults,
            tags={},
        )
        try:
            render(self.path.read_bytes(), desired)
        except PipelineError as error:
            raise ValueError(f"{self.path.name}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineData:
    """Which data a pipeline may touch.

    Args:
        bucket: Where its data lives.
        read: Prefixes that it reads, for example `("raw/", "batch/")`.
        write: Prefixes that it reads and writes, for example `("pipelines/refinance-interest-rate/",)`.
    """

    bucket: IDataBucket
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepCode:
    """Source files of one step, which travel to the job as an archive named by its content.

    It goes up with the deployment, and from there into the data bucket, where jobs read it.

    Args:
        root: Folder that the paths in the archive are relative to.
        files: Exactly the files in the archive, relative to `root`, with `/`.

    Raises:
        ValueError: No files, or one that does not exist below `root`.
    """

    root: Path
    files: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(f"StepCode below {self.root} has no files")
        for name in self.files:
            if not (self.root / name).is_file():
                raise ValueError(f"StepCode: {self.root / name} does not exist")

    @functools.cached_property
    def archive(self) -> bytes:
        """The files as a zip whose bytes depend on them alone."""
        return zip_of({name: (self.root / name).read_bytes() for name in self.files})

    @property
    def sha256(self) -> str:
        """Hex digest of the archive."""
        return hashlib.sha256(self.archive).hexdigest()
