"""Processing jobs: a container between S3 inputs and S3 outputs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec
from localcloud.sagemaker.jobs import layout
from localcloud.sagemaker.jobs.failure import MAX_REASON, JobFailure, container_failed
from localcloud.sagemaker.jobs.job import Job, Outcome, volume_bytes
from localcloud.sagemaker.jobs.mirror import Mirror, Source
from localcloud.sagemaker.jobs.storage import shard
from localcloud.sagemaker.store import now

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
DEFAULT_MAX_RUNTIME = 86_400


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
        with Mirror(job, _continuous(job, containers), _key(job)):
            outcome = job.run_hosts(containers, specs, sinks, limit)
        _finish(job, containers, outcome, limit)
    finally:
        job.leave(containers)


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


def _continuous(job: Job, containers: Sequence[Container]) -> list[Source]:
    return [
        Source(container, container.outside(output["S3Output"]["LocalPath"]), output["S3Output"]["S3Uri"])
        for output in _outputs(job)
        if output["S3Output"]["S3UploadMode"] == "Continuous"
        for container in containers
    ]


def _key(job: Job) -> str | None:
    key: str | None = job.record.get("ProcessingOutputConfig", {}).get("KmsKeyId")
    return key


def _finish(job: Job, containers: Sequence[Container], outcome: Outcome, limit: float) -> None:
    job.check_closing()
    if outcome.ending == "exited" and outcome.code == 0:
        for output in _outputs(job):
            target = output["S3Output"]
            if target["S3UploadMode"] == "Continuous":
                continue  # the mirror has brought all of it
            for container in containers:
                folder = _outside(container, target["LocalPath"])
                job.storage.upload_folder(folder, target["S3Uri"], _key(job), root=container.base)
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
