"""The demo of training on hosts of one's own: from uploaded images to a class, with a host lost on the way.

All of it is done as the data scientist, but for the approval, and the loss: the administrator ends a host.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3

from modelyard_cli import registry
from modelyard_cli.aws import client
from modelyard_cli.demo import data, phases
from modelyard_cli.demo.commands import as_person
from modelyard_cli.demo.data import Data
from modelyard_cli.demo.screen import News, Screen
from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.train.jobs import Cluster, Job, request
from pipeline_defs.catalog import PIPELINES, ImageClassification

STAGE, DATASET, MODEL, JOB = "local-training", "digits", "digits", "digits-on-two-hosts"
# What scales the workers looks once a minute; here once a second.
CLOCK = 60.0
LIMIT_S = 300.0
HOSTS = 2
SETTINGS = {
    "backbone": "test_resnet",
    "image_size": 32,
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 0.003,
    "checkpoint_steps": 20,
}
_UPLOADS_AT_ONCE, _LOOK_S = 8, 0.5


def loop(
    screen: Screen,
    result: dict[str, Any],
    chosen: Data,
    environment: Mapping[str, str],
    outputs: Mapping[str, str],
) -> None:
    """The phases after the deployment, in order."""
    scientist = phases.acting_as("DataScientist", environment, outputs)
    chosen = replace(chosen, model=_group(outputs))
    with screen.phase("upload", "Upload images as the data scientist"):
        uploaded = upload(scientist, outputs, chosen)
    with screen.phase("preprocess", "Images → queue → workers, who come for them → shards") as news:
        address, counts = dataset(scientist, outputs, uploaded, news)
    with screen.phase("train", f"Train on {HOSTS} hosts, and lose one on the way") as news:
        job, package = train(scientist, outputs, address, news)
    with screen.phase("approve", "Approve the best model as the model approver, who trains nothing"):
        approver = phases.acting_as("ModelApprover", environment, outputs)
        approval = approve(approver, package)
    with screen.phase("predict", "Classes of images in S3, through the function URL") as news:
        prediction = phases.predict(scientist, outputs, chosen, news)
    result |= {
        "dataset": counts | {"manifest": address},
        "job": job.as_json(),
        "metrics": package["CustomerMetadataProperties"],
        "approval": approval,
        "prediction": prediction,
    }


def prepare() -> Data:
    """The digits, and what to predict of them."""
    (spec,) = (spec for spec in PIPELINES if spec.name == MODEL)
    assert isinstance(spec.family, ImageClassification)
    (found,) = data.prepare([spec], phases.BUILD / "data")
    return found


def upload(session: boto3.Session, outputs: Mapping[str, str], chosen: Data) -> int:
    """Put the images where the queue hears of them; how many there are."""
    s3, files = client("s3", session), sorted(chosen.table.rglob("*.png"))

    def put(path: Path) -> None:
        key = f"uploads/{DATASET}/{path.relative_to(chosen.table).as_posix()}"
        s3.put_object(Bucket=outputs["DataBucketName"], Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(max_workers=_UPLOADS_AT_ONCE) as pool:
        list(pool.map(put, files))
    return len(files)


def dataset(
    session: boto3.Session, outputs: Mapping[str, str], uploaded: int, news: News
) -> tuple[str, dict[str, int]]:
    """Wait until all images are prepared; the address of their manifest, and what became of them."""
    from training.preprocessing.aws import DynamoLedger
    from training.preprocessing.progress import tally
    from training.preprocessing.records import IMAGE, QUARANTINED

    ledger = DynamoLedger(client("dynamodb", session), outputs["LedgerTableName"], DATASET)
    for _ in _patiently("the images to be prepared"):
        counts = tally(list(ledger.all()))
        news(f"{counts[IMAGE]} of {uploaded} images")
        if counts[IMAGE] + counts[QUARANTINED] >= uploaded:
            break
    return _manifest(session, outputs), {"images": counts[IMAGE], "quarantined": counts[QUARANTINED]}


def _manifest(session: boto3.Session, outputs: Mapping[str, str]) -> str:
    """Write the manifest of all that is prepared; its address."""
    said = as_person(
        session,
        "training.preprocessing.manifest",
        "write",
        *("--dataset", DATASET, "--table", outputs["LedgerTableName"]),
        *("--output", f"s3://{outputs['DataBucketName']}/datasets/{DATASET}"),
    )
    return said.split()[-1]


def train(
    session: boto3.Session, outputs: Mapping[str, str], address: str, news: News
) -> tuple[Job, dict[str, Any]]:
    """Ask for a job, take a host from it once it has a checkpoint, and see it through.

    Returns:
        The job, and the version that its best model became.
    """
    sagemaker = client("sagemaker", session)
    cluster = Cluster(
        client("sqs", session), client("dynamodb", session), outputs["JobsQueueUrl"], outputs["JobsTableName"]
    )
    settings = [f"{name}={value}" for name, value in SETTINGS.items()]
    cluster.send(request(JOB, address, settings, hosts=HOSTS, model_group=_group(outputs)))
    lost = False
    for _ in _patiently(f"job {JOB} to end"):
        job = cluster.find(JOB)
        if job is None:
            continue
        news(f"{job.state}, {job.hosts} hosts, step {job.step}{', one host lost' if lost else ''}")
        if job.state in ("failed", "cancelled"):
            raise CliError(f"job {JOB} {job.state}: {job.reason}", FAILED)
        if not lost and job.saved_step is not None and job.hosts == HOSTS:
            lost = lose_a_host(outputs)
        if job.state == "completed" and not lost:
            raise CliError(f"job {JOB} was over before a host could be lost", FAILED)
        if job.state == "completed" and (package := best_of(sagemaker, job)):
            return job, package
    raise AssertionError("unreachable: patience ends with an error")


def lose_a_host(outputs: Mapping[str, str]) -> bool:
    """Take away the host of one of the job's tasks, as Spot does; whether both had theirs."""
    ecs, cluster = client("ecs"), outputs["ClusterName"]
    arns = ecs.list_tasks(cluster=cluster, startedBy=f"{JOB}/1")["taskArns"]
    if len(arns) < HOSTS:
        return False
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[max(arns)])["tasks"]
    (host,) = ecs.describe_container_instances(
        cluster=cluster, containerInstances=[task["containerInstanceArn"]]
    )["containerInstances"]
    client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=host["ec2InstanceId"], ShouldDecrementDesiredCapacity=True
    )
    return True


def best_of(sagemaker: Any, job: Job) -> dict[str, Any] | None:
    """The version that a job's best model became; None until it is registered, after the last one if that is
    another."""
    for arn in job.document["models"]:
        package: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=arn)
        if package["CustomerMetadataProperties"]["model"] == "best":
            return package
    return None


def approve(session: boto3.Session, package: Mapping[str, Any]) -> dict[str, Any]:
    """Approve a version."""
    group, version = package["ModelPackageGroupName"], package["ModelPackageVersion"]
    return registry.decide(client("sagemaker", session), group, version, "Approved", "make demo TRAIN=1")


def _group(outputs: Mapping[str, str]) -> str:
    """The model package group of the images, by its deployed name."""
    (found,) = (name for name in outputs["ModelGroups"].split(",") if name.endswith(MODEL))
    return found


def _patiently(what: str) -> Iterator[None]:
    """Again and again, until it takes too long."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        yield
        time.sleep(_LOOK_S)
    raise CliError(f"{LIMIT_S:.0f} s were not enough for {what}", FAILED)
