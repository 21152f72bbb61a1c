"""The app, deployed to a local cloud of its own, with models that are registered without a pipeline.

    with deployed(folder, Deployed) as app:
        version = app.register(archive(scale=1.0))
        app.decide(version, "Approved")
        app.wait(lambda: app.record().get("serving", {}).get("version") == version)

Stacks, roles and enforcement are those of `cdk deploy -c env=local`; the models are small and made here, as
long as only serving matters. Their archives have the form that training writes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import boto3
import numpy as np
import psutil
from boto3.dynamodb.types import TypeDeserializer

from localcloud import lifecycle, processes
from localcloud.connect import client_environment, connect
from localcloud.folder import StateFolder
from modelyard_cli import registry
from modelyard_cli.demo import phases
from training.common.boosting import xgboost
from training.common.encoder import Encoder
from training.common.features import Feature
from training.common.manifest import Golden, Manifest
from training.tabular.train import write_model

MODEL = phases.MODEL
FEATURES = 20
TREES, DEPTH = 100, 6
_IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/registered-by-hand:1"


@dataclass
class Deployed:
    """The deployed app.

    `session` is the administrator's, `scientist` that of who may call the function URL.
    """

    state: StateFolder
    environment: Mapping[str, str]
    outputs: Mapping[str, str]
    session: boto3.Session
    scientist: boto3.Session
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of the administrator's."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service)
        return self._clients[service]

    def physical(self, stack: str, logical: str) -> str:
        """Name of a resource whose logical id begins so."""
        found = self.client("cloudformation").describe_stack_resources(StackName=f"modelyard-local-{stack}")
        return next(
            str(resource["PhysicalResourceId"])
            for resource in found["StackResources"]
            if resource["LogicalResourceId"][:-8] == logical
        )

    def register(self, body: bytes, model: str = MODEL) -> int:
        """Register an archive as a new version that nobody has decided on; returns its number."""
        bucket, key = self.outputs["DataBucketName"], f"pipelines/{model}/{uuid.uuid4()}/model.tar.gz"
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        made = self.client("sagemaker").create_model_package(
            ModelPackageGroupName=model,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": _IMAGE, "ModelDataUrl": f"s3://{bucket}/{key}"}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
        return int(made["ModelPackageArn"].rsplit("/", 1)[-1])

    def decide(self, version: int, status: str, canary: int | None = None, model: str = MODEL) -> None:
        """Approve or reject, as `modelyard approve` and `modelyard reject` do."""
        registry.decide(self.client("sagemaker"), model, version, status, None, canary)

    def record(self, model: str = MODEL) -> dict[str, Any]:
        """What the deployer wrote down; empty before it did."""
        answer = self.client("dynamodb").get_item(
            TableName=self.outputs["RecordTableName"], Key={"group": {"S": model}}, ConsistentRead=True
        )
        read = TypeDeserializer().deserialize
        return {name: read(value) for name, value in answer.get("Item", {}).items()}

    def version(self, role: str = "serving", model: str = MODEL) -> int | None:
        """The version that serves, is the canary, or served before."""
        found = self.record(model).get(role)
        return int(found["version"]) if found else None

    def deploy(self, version: int, model: str = MODEL) -> None:
        """Approve a version and wait until it serves."""
        self.decide(version, "Approved", model=model)
        self.wait(lambda: self.version(model=model) == version)

    def reconcile(self) -> dict[str, Any]:
        """Have the deployer look now, as its events and its schedule do; its answer, or `errorMessage`."""
        function = self.physical("serving", "DeployerFunction")
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"group": MODEL}))
        return dict(json.loads(answer["Payload"].read()))

    def servers(self) -> list[psutil.Process]:
        """The processes that serve models, one of each instance."""
        found = [p for p in self.processes() if "SAGEMAKER_BIND_TO_PORT" in _environ(p)]
        # The first one that is no more of what sets a container up.
        return [p for p in found if not _sets_up(p) and (above := _parent(p)) and _sets_up(above)]

    def workers(self, function: str) -> list[psutil.Process]:
        """The processes that run a function now, or wait for its next event."""
        name = self.physical(*function.split("/"))
        return [p for p in self.processes() if _environ(p).get("AWS_LAMBDA_FUNCTION_NAME") == name]

    def processes(self) -> list[psutil.Process]:
        """All that the cloud started."""
        run = json.loads(self.state.run_json.read_text())["run_id"]
        return processes.of_run(run)

    @staticmethod
    def wait(done: Callable[[], bool], seconds: float = 240.0) -> None:
        """Raises TimeoutError unless `done` becomes true."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {seconds:g} s")
            time.sleep(0.2)


App = TypeVar("App", bound=Deployed)


@contextmanager
def deployed(folder: Path, kind: type[App]) -> Iterator[App]:
    """Deploy all stacks to a cloud whose state lies in `folder`; gone at the end."""
    state = folder / "state"
    lifecycle.up(state)
    try:
        environment = client_environment(*connect(state))
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(phases, "BUILD", folder),
            mock.patch.object(phases, "ASSEMBLY", folder / "cdk.out"),
        ):
            phases.synthesize()
            phases.bootstrap(environment, lambda _: None)
            outputs = phases.deploy(environment, lambda _: None)
            session = boto3.Session()
            yield kind(
                state=StateFolder(state),
                environment=environment,
                outputs=outputs,
                session=session,
                scientist=phases.acting_as("DataScientist", environment, outputs),
            )
    finally:
        lifecycle.down(state)


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def _sets_up(process: psutil.Process) -> bool:
    try:
        return any(argument.endswith("containers/launcher.py") for argument in process.cmdline())
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def archive(scale: float, trees: int = TREES) -> bytes:
    """A model archive; its predictions are in proportion to `scale`."""
    chance = np.random.default_rng(7)
    matrix = chance.normal(size=(2000, FEATURES)).astype(np.float32)
    target = scale * (matrix[:, 0] * 2 + matrix[:, 1] ** 2 + chance.normal(size=2000))
    booster = xgboost.train(
        {"max_depth": DEPTH, "eta": 0.1, "nthread": 1}, xgboost.DMatrix(matrix, label=target), trees
    )
    features = tuple(Feature(f"feature_{number}", "numeric") for number in range(FEATURES))
    manifest = Manifest(
        framework="xgboost",
        framework_version=xgboost.__version__,
        model="model.ubj",
        encoder="encoder.json",
        features=features,
        golden=Golden(instances=(row(),), predictions=()),
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        place.mkdir()
        write_model(place, booster, Encoder(features, {}), manifest)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for path in sorted(place.iterdir()):
                tar.add(path, path.name)
    return out.getvalue()


def row() -> dict[str, float]:
    """One row that the models take."""
    return {f"feature_{number}": 0.25 * number for number in range(FEATURES)}
