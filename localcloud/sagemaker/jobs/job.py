"""What every kind of job has while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

from localcloud.aws import buckets, identity, inside
from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.inside_client import InsideClient
from localcloud.aws.logs import LogStream
from localcloud.aws.sessions import RoleSession
from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec, Engine
from localcloud.containers.image import Image, ImageError, ImageStore
from localcloud.containers.network import NetworkError
from localcloud.containers.registry import pull
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.arns import arn
from localcloud.sagemaker.jobs import layout
from localcloud.sagemaker.jobs.failure import JobFailure, role_refused
from localcloud.sagemaker.jobs.storage import Storage, split_uri
from localcloud.sagemaker.store import Store, now

PRINCIPAL = "sagemaker.amazonaws.com"
CLOSED = "InternalServerError: the local cloud was stopped while the job ran; start the job again"
Ending = Literal["exited", "stopped", "timed out"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job's containers ended: the first exit code that is not 0, and the host it came from."""

    ending: Ending
    code: int = 0
    host: int = 0


class Job:
    """One running job.

    Args:
        cloud, store, engine, images: of the service.
        kind: in the store, for example `training-job`.
        name: of the job.
        grace: seconds between SIGTERM and SIGKILL.
        on_metric: called with name and value of each metric that a training job's log shows.
    """

    def __init__(
        self,
        *,
        cloud: Cloud,
        store: Store,
        engine: Engine,
        images: ImageStore,
        kind: str,
        name: str,
        grace: float,
        on_metric: Callable[[str, float], None] | None = None,
    ) -> None:
        self.cloud, self.store, self.engine, self.images = cloud, store, engine, images
        self.kind, self.name, self.grace = kind, name, grace
        self.on_metric = on_metric
        self.record = store.get(kind, name)
        self.stopping = threading.Event()
        self.closing = False
        self.last_lines: dict[int, str] = {}
        # Beginning and end of each process that has run, for who wants to know what a job spends around them.
        self.processes: list[tuple[float, float]] = []
        self._left: list[Container] = []
        self._wake = threading.Event()
        self._image_notes: list[str] = []

    def stop(self) -> None:
        """Ask for the job's end; whoever waits for its containers stops them."""
        self.stopping.set()
        self._wake.set()

    def update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the stored record."""

        def apply(record: dict[str, Any]) -> None:
            change(record)
            record["LastModifiedTime"] = now()
            if self.processes:
                record["_Processes"] = self.processes

        self.record = self.store.update(self.kind, self.name, apply)

    @property
    def role_arn(self) -> str:
        """The execution role: the job's own, or (transform) that of its model."""
        return str(self.record.get("RoleArn") or self.record["_ExecutionRoleArn"])

    @cached_property
    def session(self) -> RoleSession:
        """Of the execution role, for this job alone."""
        return RoleSession(
            lambda: identity.assume_role(
                self.role_arn,
                service=PRINCIPAL,
                session="SageMaker",
                source_arn=arn(self.cloud, self.kind, self.name),
            )
        )

    @property
    def credentials(self) -> Credentials:
        """Of the session now; JobFailure if the role is gone or does not trust SageMaker."""
        try:
            return self.session()
        except RoleNotAssumable as error:
            raise role_refused(self.role_arn) from error

    @property
    def storage(self) -> Storage:
        """S3 as the execution role may use it."""
        credentials = self.credentials
        return Storage(
            partial(self.cloud.client, "s3", credentials),
            self.role_arn,
            self.cloud.region,
            partial(inside.ask, self.cloud, credentials),
        )

    def require_bucket(self, uri: str) -> None:
        """Fail now, and not after hours, when the bucket for the results does not exist."""
        bucket, _ = split_uri(uri)
        # As the cloud itself: the role need not be allowed to look.
        if not buckets.exists(self.cloud, bucket):
            raise JobFailure(
                f"ClientError: Data upload failed:NoSuchBucket (404): The specified bucket "
                f"does not exist ({uri})"
            )

    def image(self, uri: str) -> Image:
        """Pull an image with the execution role."""
        ecr = InsideClient(self.cloud, self.credentials, "ecr")
        try:
            image = pull(uri, self.images, ecr, account=self.cloud.account, role_arn=self.role_arn)
        except ImageError as error:
            raise JobFailure(f"ClientError: {error}") from error
        self._image_notes = list(image.notes)
        return image

    def environment(self) -> dict[str, str]:
        """Variables with which the container reaches this cloud; its credentials it asks `session` for."""
        return self.cloud.environment(None)

    def note_ignored(self, sink: Callable[[list[str]], None], members: Sequence[str]) -> None:
        """Say in the job's log what of its request has no effect here, and what its image is not."""
        if self._image_notes:
            sink(self._image_notes)
        given = [member for member in members if self.record.get(member)]
        if given:
            sink([f"[local cloud] without effect here: {', '.join(given)}"])
        if not self.engine.isolates:
            sink(["[local cloud] this machine allows no mount namespaces: /opt/ml is $SAGEMAKER_BASE_DIR"])

    def sink(
        self, group: str, stream: str, host: int, listen: Callable[[Sequence[str]], None] | None = None
    ) -> Callable[[list[str]], None]:
        """Where a host's output goes: CloudWatch Logs, and `listen`."""
        log = LogStream(self.cloud, group, stream, self.session)

        def write(lines: list[str]) -> None:
            if listen is not None:
                listen(lines)
            self.last_lines[host] = next((line for line in reversed(lines) if line.strip()), "") or (
                self.last_lines.get(host, "")
            )
            log.write(lines)

        return write

    def run_hosts(
        self,
        containers: Sequence[Container],
        specs: Sequence[ContainerSpec],
        sinks: Sequence[Callable[[list[str]], None]],
        max_seconds: float,
        *,
        peers: bool = False,
    ) -> Outcome:
        """Start one container per host and wait for all; the first that fails ends the others.

        Args:
            containers, specs, sinks: one of each per host.
            max_seconds: of the whole run.
            peers: whether isolated hosts reach one another.
        """
        if self.stopping.is_set():
            return Outcome("stopped")
        deadline = time.monotonic() + max_seconds
        with ExitStack() as until_ended:
            try:
                shared = peers and len(specs) > 1 and specs[0].isolate_network
                # Elsewhere the containers refuse to start, and say why.
                if shared and self.engine.isolates:
                    network = until_ended.enter_context(self.engine.network())
                    specs = [replace(spec, network_of=network.pid) for spec in specs]
                for container, spec, sink in zip(containers, specs, sinks, strict=True):
                    container.when_ended(self._wake.set)
                    container.start(spec, sink)
            except (ContainerRefusedError, NetworkError) as error:
                self.end(containers)
                raise JobFailure(f"ClientError: {error}") from error
            return self._await_hosts(containers, deadline)

    def _await_hosts(self, containers: Sequence[Container], deadline: float) -> Outcome:
        while True:
            self._wake.clear()
            codes = [container.wait(0) for container in containers]
            failed = next((i for i, code in enumerate(codes) if code), None)
            if self.stopping.is_set():
                self.end(containers)
                return Outcome("stopped")
            if failed is not None:
                self.end(containers)
                return Outcome("exited", codes[failed] or 0, failed)
            if None not in codes:
                self.note_processes(containers)
                return Outcome("exited")
            if not self._wake.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                self.end(containers)
                return Outcome("timed out")

    def end(self, containers: Sequence[Container]) -> None:
        """Stop what still runs, all hosts at once."""
        grace = 2.0 if self.closing else self.grace
        threads = [threading.Thread(target=container.stop, args=(grace,)) for container in containers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def leave(self, containers: Sequence[Container]) -> None:
        """Stop what still runs; the folders go with `clean`."""
        for container in containers:
            container.stop(0)
        self._left += containers

    def clean(self) -> None:
        """Delete the containers' folders, which nobody waits for: the job has ended."""
        for container in self._left:
            container.remove()

    def note_processes(self, containers: Sequence[Container]) -> None:
        """Keep when these containers' processes ran; they have ended."""
        self.processes += [
            (container.started, container.ended)
            for container in containers
            if container.started is not None and container.ended is not None
        ]

    def message(self, containers: Sequence[Container], outcome: Outcome, path: str) -> str:
        """What the failed host left in its failure file, or else the last line of its log."""
        left = layout.message_of(containers[outcome.host], path)
        return left or self.last_lines.get(outcome.host, "").strip()

    def check_closing(self) -> None:
        """End here if the cloud stops: what follows needs it."""
        if self.closing:
            raise JobFailure(CLOSED)


def volume_bytes(resources: Mapping[str, Any]) -> int | None:
    """The size of the storage volume, None if the request names none."""
    gigabytes = resources.get("VolumeSizeInGB")
    return int(gigabytes) * 1024**3 if gigabytes else None
