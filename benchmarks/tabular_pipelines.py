"""The tabular regressions on a local cloud, without CDK: benchmarks and tests of executions start here.

    with fresh_cloud() as (cloud, administrator, folder):
        pipelines = Pipelines(cloud, administrator, loans(folder), "bench")
        pipelines.put(spec)
        execution = pipelines.wait(pipelines.start(spec, pipelines.upload(spec, "v1")))

Image, code archives and definitions are those that CDK deploys; one role may do everything, which IAM has to
decide all the same.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from pipeline_defs.catalog import PIPELINES, PipelineSpec, TabularRegression, load_definition
from pipeline_defs.code import code_files

REGRESSIONS = tuple(spec for spec in PIPELINES if isinstance(spec.family, TabularRegression))
EVERY_S = 0.1


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


def loans(folder: Path) -> Path:
    """Write the real data below `folder`."""
    data = folder / "data"
    subprocess.run(
        [sys.executable, "tools/loans.py", "--out", str(data)], cwd=ROOT, check=True, capture_output=True
    )
    return data


class Pipelines:
    """Puts pipelines on a cloud, starts executions and waits for them.

    data: folder of the loans.
    name: of the bucket, the role and the image; pipelines and groups are called `<name>-<spec.name>`.
    """

    def __init__(self, cloud: Cloud, administrator: Credentials, data: Path, name: str) -> None:
        self.sagemaker = cloud.client("sagemaker", administrator)
        self.s3 = cloud.client("s3", administrator)
        self._data, self._name = data, name
        self.s3.create_bucket(Bucket=name)
        self._values = {
            "ExecutionRoleArn": make_role(cloud, administrator, name),
            "ImageUri": push_image(cloud, administrator, ROOT / "training", name),
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
        text = Template(load_definition(spec)).substitute(self._values, ModelPackageGroupName=name, **code)
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
        family = spec.family
        if not isinstance(family, TabularRegression):
            raise TypeError(f"{spec.name} is no tabular regression")
        files = {
            "InputData": (f"{family.scenario}/loans.csv", f"{family.raw}{version}/loans.csv"),
            "BatchData": (
                f"{family.scenario}/{family.target}/batch.jsonl",
                f"batch/{spec.name}/{version}.jsonl",
            ),
        }
        for file, key in files.values():
            self.s3.upload_file(str(self._data / file), self._name, key)
        return {parameter: f"s3://{self._name}/{key}" for parameter, (_, key) in files.items()}

    def start(self, spec: PipelineSpec, parameters: Mapping[str, str]) -> str:
        """The execution's ARN."""
        values = [{"Name": key, "Value": value} for key, value in parameters.items()]
        started = self.sagemaker.start_pipeline_execution(
            PipelineName=self._pipeline(spec), PipelineParameters=values
        )
        return str(started["PipelineExecutionArn"])

    def wait(self, arn: str) -> dict[str, Any]:
        """The execution when it has succeeded."""
        while True:
            seen: dict[str, Any] = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            if seen["PipelineExecutionStatus"] == "Succeeded":
                return seen
            if seen["PipelineExecutionStatus"] != "Executing":
                reasons = [f"{step['StepName']}: {step.get('FailureReason', '')}" for step in self.steps(arn)]
                raise RuntimeError(f"{seen['PipelineExecutionStatus']}: {reasons}")
            time.sleep(EVERY_S)

    def steps(self, arn: str) -> list[dict[str, Any]]:
        """In the order of their start."""
        answer = self.sagemaker.list_pipeline_execution_steps(
            PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100
        )
        found: list[dict[str, Any]] = answer["PipelineExecutionSteps"]
        return found

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


def seconds(execution: Mapping[str, Any]) -> float:
    """Wall time of an execution, by the service's own clock."""
    return float((execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds())
