"""Processing jobs: a container between S3 inputs and S3 outputs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.containers.archives import ArchiveError, files_below
from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec
from localcloud.sagemaker.jobs import layout
from localcloud.sagemaker.jobs.failure import MAX_REASON, JobFailure, container_failed
from localcloud.sagemaker.jobs.job import Job, Outcome, volume_bytes
from localcloud.sagemaker.jobs.storage import join_uri, shard
from localcloud.sagemaker.store import now

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
DEFAULT_MAX_RUNTIME = 86_400
_CONTINUOUS_SECONDS = 2.0


def run(job: Job) -> None:
    """Run a processing job to its end; JobFailure if it fails."""
    record = job.record
    application = record["AppSpecification"]
    cluster = record["ProcessingResources"]["ClusterConfig"]
    isolated = record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    for output in _outputs(job):
        job.require_bucket(output["S3Output"]["S3Uri"])
    image = job.image(application["ImageUri"])
    count = cluster["InstanceCount"]
    containers = [job.engine.create(f"{job.name}-{layout.host_name(i)}") for i in range(count)]
    try:
        for index, container in enumerate(containers):
            layout.lay_out_processing(container.base, record, index)
            _download(job, container, index, count)
        started = now()
        job.update(lambda document: document.update(ProcessingStartTime=started))
        environment = {
            **job.environment(),
            "PROCESSING_JOB_NAME": job.name,
            "PROCESSING_JOB_ARN": record["ProcessingJobArn"],
            **record.get("Environment", {}),
        }
        specs = [
            ContainerSpec(
                image=image,
                entrypoint=application.get("ContainerEntrypoint"),
                arguments=application.get("ContainerArguments", ()),
                environment=environment,
                hostname=layout.host_name(index),
                hosts=layout.host_addresses(count),
                isolate_network=isolated,
                credentials=None if isolated else job.session,
            )
            for index in range(count)
        ]
        epoch = int(time.time())
        sinks = [job.sink(LOG_GROUP, f"{job.name}/{layout.host_name(i)}-{epoch}", i) for i in range(count)]
        job.note_ignored(sinks[0], ("ExperimentConfig",))
        limit = record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
        with _Mirror(job, containers):
            outcome = job.run_hosts(containers, specs, sinks, limit)
        _finish(job, containers, outcome, limit)
    finally:
        for container in containers:
            container.remove()


def _download(job: Job, container: Container, index: int, count: int) -> None:
    limit = volume_bytes(job.record["ProcessingResources"]["ClusterConfig"])
    for entry in job.record.get("ProcessingInputs", []):
        if "S3Input" not in entry or entry.get("AppManaged"):
            continue
        source = entry["S3Input"]
        items = job.storage.select(source["S3Uri"], source.get("S3DataType", "S3Prefix"))
        chosen = shard(items, index, count, source.get("S3DataDistributionType", "FullyReplicated"))
        job.storage.download(chosen, _outside(container, source["LocalPath"]), limit=limit)
    for output in _outputs(job):
        _outside(container, output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)


def _outside(container: Container, path: str) -> Path:
    try:
        return container.outside(path)
    except ContainerRefusedError as error:
        raise JobFailure(f"ClientError: {error}") from error


def _outputs(job: Job) -> list[dict[str, Any]]:
    outputs = job.record.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return [output for output in outputs if "S3Output" in output and not output.get("AppManaged")]


def _finish(job: Job, containers: Sequence[Container], outcome: Outcome, limit: float) -> None:
    job.check_closing()
    if outcome.ending == "exited" and outcome.code == 0:
        for output in _outputs(job):
            target = output["S3Output"]
            for container in containers:
                folder = _outside(container, target["LocalPath"])
                key = job.record["ProcessingOutputConfig"].get("KmsKeyId")
                job.storage.upload_folder(folder, target["S3Uri"], key, root=container.base)
    said = layout.message_of(containers[outcome.host], layout.MESSAGE)
    reason = None
    if outcome.ending == "timed out":
        reason = f"The job was stopped after MaxRuntimeInSeconds ({limit:g} s)."
    elif outcome.code:
        message = job.message(containers, outcome, layout.MESSAGE)
        reason = container_failed(message, outcome.code).reason
    status = "Failed" if outcome.code else "Completed" if outcome.ending == "exited" else "Stopped"

    def end(document: dict[str, Any]) -> None:
        document.update(ProcessingJobStatus=status, ProcessingEndTime=now())
        if said:
            document["ExitMessage"] = said[:MAX_REASON]
        if reason:
            document["FailureReason"] = reason

    job.update(end)


class _Mirror:
    """Uploads what appears in Continuous outputs while the job runs."""

    def __init__(self, job: Job, containers: Sequence[Container]) -> None:
        self._job = job
        self._sources = [
            (container, container.outside(output["S3Output"]["LocalPath"]), output["S3Output"]["S3Uri"])
            for output in _outputs(job)
            if output["S3Output"]["S3UploadMode"] == "Continuous"
            for container in containers
        ]
        self._seen: dict[Path, tuple[int, int]] = {}
        self._done = threading.Event()
        self._failure: JobFailure | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="continuous-upload")

    def __enter__(self) -> None:
        if self._sources:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._sources:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._done.wait(_CONTINUOUS_SECONDS):
                self._upload()
            if not self._job.closing:
                self._upload()
        except JobFailure as failure:
            self._failure = failure
            self._job.stop()
        except ArchiveError as error:
            self._failure = JobFailure(f"ClientError: Data upload failed:{error}")
            self._job.stop()

    def _upload(self) -> None:
        key = self._job.record["ProcessingOutputConfig"].get("KmsKeyId")
        for container, folder, uri in self._sources:
            for relative, path in files_below(folder, container.base):
                stat = path.stat(follow_symlinks=False)
                version = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(path) != version:
                    self._job.storage.upload(path, join_uri(uri, relative), key, container.base)
                    self._seen[path] = version
