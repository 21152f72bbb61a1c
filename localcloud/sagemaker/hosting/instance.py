"""One instance of a production variant: a server that is watched, and started again when it dies."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from localcloud.aws import identity
from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.logs import LogStream
from localcloud.aws.sessions import RoleSession
from localcloud.containers.engine import ContainerRefusedError, Engine
from localcloud.containers.image import ImageError, ImageStore
from localcloud.containers.registry import pull
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.hosting.artifacts import ArtifactError, fetch
from localcloud.sagemaker.hosting.metrics import InvocationMetrics
from localcloud.sagemaker.hosting.multimodel import ModelCache
from localcloud.sagemaker.hosting.server import ISOLATION_NOTE, ModelServer, ServerFailed
from localcloud.sagemaker.jobs.failure import JobFailure, role_refused
from localcloud.sagemaker.jobs.storage import Storage

_log = logging.getLogger(__name__)
_PRINCIPAL = "sagemaker.amazonaws.com"
_STOP_GRACE = 30.0
_FIRST_BACK_OFF, _LONGEST_BACK_OFF, _STEADY_SECONDS = 0.5, 30.0, 60.0


class StartError(Exception):
    """The instance did not come into service; the message is for FailureReason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """What every instance of a variant runs.

    Args:
        config: name of the endpoint configuration.
        container: the model's container definition, resolved.
        role_arn: the model's execution role.
        model_arn: of the model, as the role's trust policy may ask.
        isolated: the model asks for network isolation: it gets no credentials.
        start_seconds: until the first answer to a ping.
    """

    endpoint: str
    config: str
    name: str
    container: Mapping[str, Any]
    role_arn: str
    model_arn: str
    isolated: bool
    start_seconds: float

    @property
    def multi_model(self) -> bool:
        """Whether models are loaded on demand."""
        return bool(self.container.get("Mode") == "MultiModel")


def assume(spec: VariantSpec) -> Credentials:
    """Credentials of the model's execution role. Raises RoleNotAssumable."""
    return identity.assume_role(
        spec.role_arn, service=_PRINCIPAL, session="SageMaker", source_arn=spec.model_arn
    )


class Instance:
    """Starts with `start`; `acquire` and `release` bracket each request so that `stop` can wait for them."""

    def __init__(
        self, cloud: Cloud, engine: Engine, images: ImageStore, metrics: InvocationMetrics, spec: VariantSpec
    ) -> None:
        self._cloud, self._engine, self._images, self._metrics, self.spec = (
            cloud,
            engine,
            images,
            metrics,
            spec,
        )
        self.id = f"i-{secrets.token_hex(9)[:17]}"
        self.stream = f"{spec.name}/{self.id}"
        self._session = RoleSession(lambda: assume(spec))
        group = f"/aws/sagemaker/Endpoints/{spec.endpoint}"
        self._log_stream = LogStream(cloud, group, self.stream, self._session)
        self._state = threading.Condition()
        self._server: ModelServer | None = None
        self._cache: ModelCache | None = None
        self._healthy = False
        self._stopping = threading.Event()
        self._running = 0

    def start(self, cancelled: Callable[[], bool]) -> None:
        """Bring the server up; StartError says why it cannot be."""
        self._bring_up(lambda: cancelled() or self._stopping.is_set())
        threading.Thread(target=self._watch, daemon=True, name=f"watch-{self.id}").start()

    def _bring_up(self, cancelled: Callable[[], bool]) -> None:
        spec = self.spec
        try:
            ecr = self._cloud.client("ecr", self._session())
            image = pull(
                spec.container["Image"],
                self._images,
                ecr,
                account=self._cloud.account,
                role_arn=spec.role_arn,
            )
        except RoleNotAssumable as error:
            raise StartError(str(role_refused(spec.role_arn)).removeprefix("ClientError: ")) from error
        except ImageError as error:
            raise StartError(
                f"The primary container for production variant {spec.name} cannot be made: {error}"
            ) from error
        server = ModelServer(
            self._engine,
            name=f"{spec.endpoint}-{spec.name}",
            image=image,
            environment={
                **self._cloud.environment(None),
                "SAGEMAKER_REGION": self._cloud.region,
                "ENDPOINT_NAME": spec.endpoint,
                **spec.container.get("Environment", {}),
            },
            sink=self._log_stream.write,
            multi_model=spec.multi_model,
            credentials=None if spec.isolated else self._session,
        )
        try:
            if spec.isolated:
                self._log_stream.write([ISOLATION_NOTE])
            if not spec.multi_model:
                fetch(self._storage(), spec.container, server.base / "model")
            server.start()
            server.wait_healthy(spec.start_seconds, cancelled)
        except (ArtifactError, ContainerRefusedError, JobFailure) as error:
            server.stop(0)
            raise StartError(str(error)) from error
        except ServerFailed as failure:
            server.stop(0)
            raise StartError(
                f"The primary container for production variant {spec.name} did not pass the ping health "
                f"check. Please check CloudWatch logs for this endpoint. ({failure})"
            ) from failure
        except BaseException:
            server.stop(0)
            raise
        with self._state:
            late = self._stopping.is_set()
            self._server = None if late else server
            self._cache = (
                ModelCache(server, self._storage, spec.container["ModelDataUrl"], self._loaded)
                if spec.multi_model
                else None
            )
            self._healthy = not late
        if late:
            server.stop(0)
            raise StartError("the instance was stopped while it started")

    def _storage(self) -> Storage:
        try:
            credentials = self._session()
        except RoleNotAssumable as error:
            raise ServiceError("ValidationError", str(role_refused(self.spec.role_arn))) from error
        client = partial(self._cloud.client, "s3", credentials)
        return Storage(client, self.spec.role_arn, self._cloud.region)

    def _loaded(self, download: float, load: float, models: int) -> None:
        self._metrics.loaded(
            self.spec.endpoint, self.spec.name, download_seconds=download, load_seconds=load, models=models
        )

    def _watch(self) -> None:
        """Start the server again whenever it ends, later and later while it does not hold."""
        pause = _FIRST_BACK_OFF
        while not self._stopping.is_set():
            server, began = self._server, time.monotonic()
            assert server is not None
            code = server.container.wait()
            with self._state:
                self._healthy = False
            if self._stopping.is_set():
                return
            server.stop(0)
            if time.monotonic() - began > _STEADY_SECONDS:
                pause = _FIRST_BACK_OFF
            while not self._stopping.is_set():
                self._note(f"the container ended with exit code {code}; it is started again in {pause:g} s")
                if self._stopping.wait(pause):
                    return
                pause = min(_LONGEST_BACK_OFF, pause * 2)
                try:
                    self._bring_up(self._stopping.is_set)
                    break
                except StartError as error:
                    self._note(f"the container did not come up: {error}")

    def _note(self, text: str) -> None:
        try:
            self._log_stream.write([f"[sagemaker logs]: {text}"])
        except RuntimeError:
            _log.exception("%s: %s", self.stream, text)

    @property
    def healthy(self) -> bool:
        """Whether it takes requests."""
        return self._healthy and not self._stopping.is_set()

    @property
    def running(self) -> int:
        """Requests on their way."""
        return self._running

    def acquire(self) -> tuple[ModelServer, ModelCache | None] | None:
        """The server for one request, None if the instance takes none now. Then `release`."""
        with self._state:
            if not self.healthy or self._server is None:
                return None
            self._running += 1
            return self._server, self._cache

    def release(self) -> None:
        """A request is answered."""
        with self._state:
            self._running -= 1
            self._state.notify_all()

    def stop(self, drain_seconds: float) -> None:
        """Take no more requests, wait for those on their way, end the server."""
        with self._state:
            self._stopping.set()
            self._state.wait_for(lambda: self._running == 0, drain_seconds)
            server = self._server
        if server is not None:
            server.stop(_STOP_GRACE if drain_seconds else 2.0)
