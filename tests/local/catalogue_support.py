"""A pipeline of the catalogue as committed, on the session's cloud, with a bucket, a group and an image."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

from localcloud.context import Cloud, Credentials
from pipeline_defs.catalog import IMAGES, PipelineSpec, load_definition
from pipeline_defs.code import code_files

REPO = Path(__file__).parents[2]


class Deployed:
    """A pipeline of the catalogue; bucket, group, repository and pipeline have one name, `name`.

    role_arn: what its jobs run under.
    """

    def __init__(
        self, cloud: Cloud, admin: Credentials, role_arn: str, spec: PipelineSpec, *, name: str = ""
    ) -> None:
        self.sagemaker, self.s3 = cloud.client("sagemaker", admin), cloud.client("s3", admin)
        self.name = self.bucket = name or f"{spec.name}-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.sagemaker.create_model_package_group(ModelPackageGroupName=self.name)
        self.key_arn = cloud.client("kms", admin).create_key()["KeyMetadata"]["Arn"]
        values = {
            "ExecutionRoleArn": role_arn,
            "ImageUri": push_image(cloud, admin, self.name, IMAGES[spec.family.image]),
            "DataBucket": self.bucket,
            "KmsKeyArn": self.key_arn,
            "ModelPackageGroupName": self.name,
            **{placeholder: self._upload_code(module) for placeholder, module in spec.code.items()},
        }
        definition = load_definition(spec)
        for placeholder, value in values.items():
            definition = definition.replace(f"${{{placeholder}}}", value)
        self.sagemaker.create_pipeline(
            PipelineName=self.name, PipelineDefinition=definition, RoleArn=role_arn
        )

    def run(self, limit_s: float, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Runs the pipeline to its end; the execution, and its steps by name."""
        arn = self.sagemaker.start_pipeline_execution(
            PipelineName=self.name,
            PipelineParameters=[{"Name": name, "Value": value} for name, value in parameters.items()],
        )["PipelineExecutionArn"]
        deadline = time.monotonic() + limit_s
        while True:
            execution = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            if execution["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                break
            assert time.monotonic() < deadline, execution
            time.sleep(0.2)
        listed = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)
        return execution, {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}

    def read(self, uri: str) -> bytes:
        key = uri.removeprefix(f"s3://{self.bucket}/")
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def newest_package(self) -> dict[str, Any]:
        found = self.sagemaker.list_model_packages(
            ModelPackageGroupName=self.name, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
        )["ModelPackageSummaryList"]
        package: dict[str, Any] = self.sagemaker.describe_model_package(
            ModelPackageName=found[0]["ModelPackageArn"]
        )
        return package

    def _upload_code(self, module: str) -> str:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as bundle:
            for name in code_files(module):
                bundle.write(REPO / name, name)
        key = f"code/{module}.zip"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.getvalue())
        return f"s3://{self.bucket}/{key}"


def push_image(cloud: Cloud, admin: Credentials, name: str, dockerfile: str) -> str:
    """Build an image of `training/` as CDK has it built, and push it to a repository of its own."""
    uri = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/{name}:1"
    cloud.client("ecr", admin).create_repository(repositoryName=name)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPO),
        "MODELYARD_STATE": str(cloud.folder.root),
        **cloud.environment(admin),
    }
    for command in (["build", "--tag", uri, "--file", dockerfile, "."], ["push", uri]):
        subprocess.run(
            [sys.executable, "-m", "localcloud.containers.docker_cli", *command],
            check=True, env=environment, cwd=REPO / "training", capture_output=True,
        )  # fmt: skip
    return uri
