"""Pipelines of the catalogue on a local cloud, without CDK: benchmarks and tests of executions start here.

    with fresh_cloud() as (cloud, administrator, folder):
        pipelines = Pipelines(cloud, administrator, folder / "data", "bench")
        pipelines.put(spec)
        execution = pipelines.wait(pipelines.start(spec, pipelines.upload(spec, "v1")))

Images, code archives and definitions are those that CDK deploys; one role may do everything, which IAM has to
decide all the same.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.empty_step import make_role, push_image
from benchmarks.harness import ROOT
from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials
from modelyard_cli.demo.data import Data, prepare, upload
from pipeline_defs.catalog import (
    IMAGES,
    PIPELINES,
    Family,
    ImageClassification,
    PipelineSpec,
    TabularClassification,
    TabularRegression,
    load_definition,
)
from pipeline_defs.code import code_files

# Of each family the first.
FAMILIES: Mapping[str, PipelineSpec] = {
    name: next(spec for spec in PIPELINES if isinstance(spec.family, kind))
    for name, kind in {
        "regression": TabularRegression,
        "tuning": TabularClassification,
        "images": ImageClassification,
    }.items()
}
REGRESSIONS = tuple(spec for spec in PIPELINES if isinstance(spec.family, TabularRegression))
EVERY_S = 0.1
# As many trials and epochs as tell something within a minute; the gates are then wide open.
_FEW: Mapping[type, Mapping[str, str]] = {
    TabularRegression: {},
    TabularClassification: {
        "MaxTuningJobs": "6",
        "MaxParallelTuningJobs": "2",
        "CrossValidationFolds": "3",
        "MetricThreshold": "0.4",
    },
    ImageClassification: {"Epochs": "2", "BatchSize": "16", "Top1Threshold": "0.3"},
}


@contextmanager
def fresh_cloud() -> Iterator[tuple[Cloud, Credentials, Path]]:
    """A cloud of its own, its administrator, and an empty folder; all gone at the end."""
    with TemporaryDirectory() as folder:
        root = Path(folder) / "state"
        lifecycle.up(root)
        try:
            yield *connect(root), Path(folder)
        finally:
            lifecycle.down(root)


def few(family: Family) -> Mapping[str, str]:
    """Parameters with which a pipeline of the family is soon done, and passes its gate."""
    return _FEW[type(family)]


class Pipelines:
    """Puts pipelines on a cloud, starts executions and waits for them.

    data: folder that the real data is written to, when it is asked for.
    name: of the bucket, the role and the images; pipelines and groups are called `<name>-<spec.name>`.
    """

    def __init__(self, cloud: Cloud, administrator: Credentials, data: Path, name: str) -> None:
        self.sagemaker = cloud.client("sagemaker", administrator)
        self.s3 = cloud.client("s3", administrator)
        self._cloud, self._administrator = cloud, administrator
        self._folder, self._name = data, name
        self._images: dict[str, str] = {}
        self._data: dict[PipelineSpec, Data] = {}
        self._declared: dict[str, set[str]] = {}
        self.s3.create_bucket(Bucket=name)
        self._values = {
            "ExecutionRoleArn": make_role(cloud, administrator, name),
            "DataBucket": name,
            "KmsKeyArn": cloud.client("kms", administrator).create_key()["KeyMetadata"]["Arn"],
        }

    def put(
        self, spec: PipelineSpec, *, changed: Mapping[str, bytes] | None = None, cacheable_only: bool = False
    ) -> None:
        """Create or update a pipeline.

        Args:
            spec: from the catalogue.
            changed: source files, by their path in the repository, whose content is another.
            cacheable_only: leave out what follows the gate, of which SageMaker caches nothing.
        """
        name = self._pipeline(spec)
        code = {key: self._archive(module, changed or {}) for key, module in spec.code.items()}
        text = Template(load_definition(spec)).substitute(
            self._values, ModelPackageGroupName=name, ImageUri=self._image(spec.family.image), **code
        )
        if cacheable_only:
            document = json.loads(text)
            document["Steps"] = [step for step in document["Steps"] if step["Type"] != "Condition"]
            # Declared parameters must be used.
            document["Parameters"] = [
                item
                for item in document["Parameters"]
                if f"Parameters.{item['Name']}" in str(document["Steps"])
            ]
            text = json.dumps(document)
        self._declared[name] = {item["Name"] for item in json.loads(text)["Parameters"]}
        request = {
            "PipelineName": name,
            "RoleArn": self._values["ExecutionRoleArn"],
            "PipelineDefinition": text,
        }
        try:
            self.sagemaker.describe_pipeline(PipelineName=name)
        except self.sagemaker.exceptions.ResourceNotFound:
            self.sagemaker.create_model_package_group(ModelPackageGroupName=name)
            self.sagemaker.create_pipeline(**request)
        else:
            self.sagemaker.update_pipeline(**request)

    def upload(self, spec: PipelineSpec, version: str) -> dict[str, str]:
        """Put the data under addresses of `version`; what an execution with them takes as parameters."""
        if spec not in self._data:
            (self._data[spec],) = prepare([spec], self._folder)
        data = self._data[spec]
        placed = replace(data, raw=f"{data.raw}{version}/", model=f"{data.model}/{version}")
        return upload(self.s3, self._name, placed)

    def start(self, spec: PipelineSpec, parameters: Mapping[str, str]) -> str:
        """The execution's ARN; it gets those of the parameters that the pipeline, as put, declares."""
        name = self._pipeline(spec)
        started = self.sagemaker.start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[
                {"Name": key, "Value": value}
                for key, value in parameters.items()
                if key in self._declared[name]
            ],
        )
        return str(started["PipelineExecutionArn"])

    def wait(self, arn: str) -> dict[str, Any]:
        """The execution when it has succeeded."""
        return wait(self.sagemaker, arn)

    def steps(self, arn: str) -> list[dict[str, Any]]:
        """In the order of their start."""
        return steps(self.sagemaker, arn)

    def _image(self, name: str) -> str:
        if name not in self._images:
            self._images[name] = push_image(
                self._cloud, self._administrator, ROOT / "training", f"{self._name}-{name}", IMAGES[name]
            )
        return self._images[name]

    def _pipeline(self, spec: PipelineSpec) -> str:
        return f"{self._name}-{spec.name}"

    def _archive(self, module: str, changed: Mapping[str, bytes]) -> str:
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w") as bundle:
            for name in code_files(module):
                content = changed.get(name) or (ROOT / name).read_bytes()
                # Without the file's time: the same content is the same archive.
                bundle.writestr(zipfile.ZipInfo(name), content)
        content = buffer.getvalue()
        key = f"code/{hashlib.sha256(content).hexdigest()}/code.zip"
        self.s3.put_object(Bucket=self._name, Key=key, Body=content)
        return f"s3://{self._name}/{key}"


def run(sagemaker: Any, pipeline: str) -> dict[str, Any]:
    """Start a pipeline that takes no parameters; the execution when it has succeeded."""
    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    return wait(sagemaker, arn)


def wait(sagemaker: Any, arn: str) -> dict[str, Any]:
    """The execution when it has succeeded; RuntimeError with its steps' reasons if it has not."""
    while True:
        seen: dict[str, Any] = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if seen["PipelineExecutionStatus"] == "Succeeded":
            return seen
        if seen["PipelineExecutionStatus"] != "Executing":
            reasons = [
                f"{step['StepName']}: {step.get('FailureReason', '')}" for step in steps(sagemaker, arn)
            ]
            raise RuntimeError(f"{seen['PipelineExecutionStatus']}: {reasons}")
        time.sleep(EVERY_S)


def steps(sagemaker: Any, arn: str) -> list[dict[str, Any]]:
    """Of an execution, in the order of their start."""
    answer = sagemaker.list_pipeline_execution_steps(
        PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100
    )
    found: list[dict[str, Any]] = answer["PipelineExecutionSteps"]
    return found


def seconds(execution: Mapping[str, Any]) -> float:
    """Wall time of an execution, by the service's own clock."""
    return float((execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds())
