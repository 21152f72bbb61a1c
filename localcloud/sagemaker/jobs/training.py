"""Training jobs: channels in, a model archive out.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.aws.metrics import may_put_metrics, put_metric
from localcloud.containers.archives import ArchiveError, pack
from localcloud.containers.engine import Container, ContainerSpec
from localcloud.containers.image import Image
from localcloud.sagemaker.jobs import layout
from localcloud.sagemaker.jobs.failure import JobFailure, container_failed
from localcloud.sagemaker.jobs.job import Job, Outcome, volume_bytes
from localcloud.sagemaker.jobs.metrics import MetricReader
from localcloud.sagemaker.jobs.mirror import Mirror, Source
from localcloud.sagemaker.jobs.storage import join_uri, shard
from localcloud.sagemaker.store import now

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_MAX_RUNTIME = 86_400
_WITHOUT_EFFECT = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "EnableManagedSpotTraining",
    "ExperimentConfig",
    "InfraCheckConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "RemoteDebugConfig",
    "RetryStrategy",
    "SessionChainingConfig",
    "TensorBoardOutputConfig",
    "VpcConfig",
)
_ENDS = {"exited": "Completed", "stopped": "Stopped", "timed out": "MaxRuntimeExceeded"}


def run(job: Job) -> None:
    """Run a training job to its end; JobFailure if it fails."""
    record = job.record
    job.require_bucket(record["OutputDataConfig"]["S3OutputPath"])
    image = job.image(record["AlgorithmSpecification"]["TrainingImage"])
    count = record["ResourceConfig"]["InstanceCount"]
    metrics = MetricReader(record["AlgorithmSpecification"].get("MetricDefinitions", []), job.on_metric)
    containers = [job.engine.create(f"{job.name}-{layout.host_name(i)}") for i in range(count)]
    try:
        transition(job, "Downloading", "Downloading input data")
        for index, container in enumerate(containers):
            layout.lay_out_training(container.base, record, index)
            _download(job, container, index, count)
        transition(
            job,
            "Training",
            "Training image download completed. Training in progress.",
            TrainingStartTime=now(),
        )
        limit = record["StoppingCondition"].get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
        epoch = int(time.time())
        sinks = [
            job.sink(LOG_GROUP, f"{job.name}/{layout.host_name(i)}-{epoch}", i, metrics.read)
            for i in range(count)
        ]
        job.note_ignored(sinks[0], _WITHOUT_EFFECT)
        specs = _specs(job, image, count)
        # Isolation leaves a training job's hosts one another:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html
        mirror = Mirror(job, _checkpoints(job, containers), None)
        mirror.know()
        with mirror:
            outcome = job.run_hosts(containers, specs, sinks, limit, peers=True)
        _keep_metrics(job, metrics)
        job.check_closing()
        transition(job, "Uploading", "Uploading generated training model")
        _upload(job, containers, outcome)
        if outcome.code:
            raise container_failed(job.message(containers, outcome, layout.FAILURE), outcome.code)
        _finish(job, outcome, limit)
    finally:
        job.leave(containers)


def transition(job: Job, status: str, message: str, **members: Any) -> None:
    """Go to a SecondaryStatus; the one before ends."""

    def change(record: dict[str, Any]) -> None:
        enter(record, status, message, now())
        record.update(members)

    job.update(change)


def enter(record: dict[str, Any], status: str, message: str, moment: float) -> None:
    """Write a SecondaryStatus into a record."""
    transitions = record["SecondaryStatusTransitions"]
    if transitions:
        transitions[-1]["EndTime"] = moment
    transitions.append({"Status": status, "StartTime": moment, "StatusMessage": message})
    record["SecondaryStatus"] = status


def fail(record: dict[str, Any], moment: float) -> None:
    """What a failed training job's record has besides status and reason."""
    enter(record, "Failed", "Training job failed", moment)
    record["TrainingEndTime"] = moment
    record.update(times(record, moment))


def times(record: dict[str, Any], end: float) -> dict[str, Any]:
    """TrainingEndTime and the seconds that are counted and billed, whole and at least one."""
    if "TrainingStartTime" not in record:
        return {"TrainingEndTime": end}
    seconds = max(1, round(end - record["TrainingStartTime"]))
    billed = seconds * record["ResourceConfig"]["InstanceCount"]
    return {
        "TrainingEndTime": end,
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": billed,
    }


def _download(job: Job, container: Container, index: int, count: int) -> None:
    limit = volume_bytes(job.record["ResourceConfig"])
    for channel in job.record.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        items = job.storage.select(source["S3Uri"], source["S3DataType"])
        chosen = shard(items, index, count, source.get("S3DataDistributionType", "FullyReplicated"))
        job.storage.download(chosen, container.base / "input/data" / channel["ChannelName"], limit=limit)
    if checkpoints := job.record.get("CheckpointConfig"):
        folder = container.outside(checkpoints.get("LocalPath", layout.CHECKPOINTS))
        folder.mkdir(parents=True, exist_ok=True)
        if job.storage.any_below(checkpoints["S3Uri"]):
            items = job.storage.select(join_uri(checkpoints["S3Uri"], ""))
            job.storage.download(items, folder, limit=limit)


def _checkpoints(job: Job, containers: Sequence[Container]) -> list[Source]:
    config = job.record.get("CheckpointConfig")
    if not config:
        return []
    path = config.get("LocalPath", layout.CHECKPOINTS)
    return [Source(container, container.outside(path), config["S3Uri"]) for container in containers]


def _specs(job: Job, image: Image, count: int) -> list[ContainerSpec]:
    record = job.record
    isolated = record.get("EnableNetworkIsolation", False)
    algorithm = record["AlgorithmSpecification"]
    environment = {
        **job.environment(),
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        **record.get("Environment", {}),
    }
    entrypoint = algorithm.get("ContainerEntrypoint")
    # SageMaker runs `docker run IMAGE train`; with an entry point of the job's own there is no `train`.
    arguments = algorithm.get("ContainerArguments") or ([] if entrypoint else ["train"])
    return [
        ContainerSpec(
            image=image,
            entrypoint=entrypoint,
            arguments=arguments,
            environment=environment,
            hostname=layout.host_name(index),
            hosts=layout.host_addresses(count),
            isolate_network=isolated,
            credentials=None if isolated else job.session,
        )
        for index in range(count)
    ]


def _upload(job: Job, containers: Sequence[Container], outcome: Outcome) -> None:
    """Archives of `/opt/ml/model` (not after a failure) and `/opt/ml/output/data`."""
    output = job.record["OutputDataConfig"]
    key, target = output.get("KmsKeyId"), join_uri(output["S3OutputPath"], job.name, "output")
    first = containers[0]
    if outcome.code == 0:
        if output.get("CompressionType") == "NONE":
            job.storage.upload_folder(
                first.outside(layout.MODEL), join_uri(target, "model"), key, root=first.base
            )
        else:
            _archive(job, first, layout.MODEL, join_uri(target, "model.tar.gz"), key)
    _archive(job, first, layout.OUTPUT_DATA, join_uri(target, "output.tar.gz"), key)


def _archive(job: Job, container: Container, path: str, uri: str, key: str | None) -> None:
    """Upload a folder as an archive; an empty one gives no object, as on AWS."""
    try:
        # Beside `/opt/ml`, where the container has no part in what is written.
        with tempfile.TemporaryDirectory(dir=container.base.parent, prefix="archive-") as scratch:
            archive = Path(scratch) / "archive.tar.gz"
            if pack(container.outside(path), archive, container.base):
                job.storage.upload(archive, uri, key)
    except ArchiveError as error:
        raise JobFailure(f"ClientError: {path} cannot be archived: {error}") from error


def _keep_metrics(job: Job, metrics: MetricReader) -> None:
    final = metrics.final()
    if not final:
        return
    job.update(lambda record: record.update(FinalMetricDataList=final))
    if not may_put_metrics(job.cloud, job.credentials, LOG_GROUP):
        return
    for metric in final:
        put_metric(
            job.cloud, LOG_GROUP, metric["MetricName"], metric["Value"], "None", {"TrainingJobName": job.name}
        )


def _finish(job: Job, outcome: Outcome, limit: float) -> None:
    secondary = _ENDS[outcome.ending]
    message = {
        "Completed": "Training job completed",
        "Stopped": "Training job stopped",
        "MaxRuntimeExceeded": f"Training job runtime exceeded MaxRuntimeInSeconds provided ({limit:g} s)",
    }[secondary]
    output = job.record["OutputDataConfig"]
    name = "model/" if output.get("CompressionType") == "NONE" else "model.tar.gz"
    uri = join_uri(output["S3OutputPath"], job.name, "output", name)
    transition(
        job,
        secondary,
        message,
        TrainingJobStatus="Completed" if secondary == "Completed" else "Stopped",
        ModelArtifacts={"S3ModelArtifacts": uri},
        **times(job.record, now()),
    )
