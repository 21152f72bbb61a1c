"""From uploads to a model without a copy of the data: the queue's dataset, read where it lies, under IAM.

The trainer acts as a user with the permissions that `TrainingData.grant` and `grant_report` give.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch
from safetensors.torch import load_file, save_file

from localcloud.context import Cloud, Credentials
from tests.local.elastic_support import Session, eventually
from tests.local.gang_support import REPO
from tests.local.support import Actor, allow, unique
from tests.local.test_preprocessing import Yard, wait_for
from tests.unit.vision.vision_support import HYPERPARAMETERS, SIZE, Container, drawn, encoded, pack
from training.common.archive import unpack
from training.common.backbones import create
from training.common.failure import UserError
from training.common.image_model import load_image_model
from training.vision.classes import read_classes
from training.vision.config import Config
from training.vision.job_record import JobRecord
from training.vision.shards import read_shards
from training.vision.sources import read_source, resolved
from training.vision.weights import start

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]
COLOURS = {"blue": (30, 60, 200), "red": (210, 40, 30)}
EACH = 40
SETTINGS = {"epochs": 2, "batch_size": 8, "augment": "crop_flip", "learning_rate": 0.003}


class Dataset:
    """Uploads that a worker has prepared, and what the trainer may do with them."""

    def __init__(self, yard: Yard, actor: Actor) -> None:
        self.yard = yard
        for label, colour in COLOURS.items():
            for number in range(EACH):
                yard.put(f"{label}/{number}.png", encoded(drawn(colour, number)))
        worker = yard.worker()
        wait_for(lambda: len(yard.names("image")) == EACH * len(COLOURS), "all images are prepared")
        worker.terminate()
        worker.wait()
        self.manifest = yard.manifest("write")
        self.folder = f"s3://{yard.output}/dogs"
        self.jobs = unique("records")
        yard.dynamodb.create_table(
            TableName=self.jobs,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        output = f"arn:aws:s3:::{yard.output}"
        table = f"arn:aws:dynamodb:{yard.cloud.region}:{yard.cloud.account}:table/{self.jobs}"
        reports = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["report/*"]}}
        self.trainer = actor(
            [
                allow("s3:ListBucket", output),
                allow("s3:GetObject", f"{output}/dogs/*"),
                allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"{output}/jobs/*"),
                {**allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], table), "Condition": reports},
            ]
        )

    def run(self, container: Container, *arguments: str) -> str:
        """A training's log."""
        container.hyperparameters(**SETTINGS)
        environment = os.environ | self.yard.cloud.environment(self.trainer)
        done = subprocess.run(
            [sys.executable, "-m", "training.vision.train", *arguments],
            cwd=REPO,
            env=environment | {"SAGEMAKER_BASE_DIR": str(container.root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def dataset(
    cloud: Cloud, admin: Credentials, actor: Actor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dataset]:
    yard = Yard(cloud, admin, actor, tmp_path_factory.mktemp("yard"))
    yield Dataset(yard, actor)
    for process in yard.processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def weights(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


def test_what_is_read_from_s3_makes_the_model_that_a_copy_makes(dataset: Dataset, tmp_path: Path) -> None:
    """One command, with the address of the dataset; to the bit."""
    distant, copied = Container(tmp_path / "distant"), Container(tmp_path / "copied")
    log = dataset.run(distant, "--dataset", dataset.folder)
    assert log.startswith("0\n"), log
    dataset.yard.manifest("copy", "--manifest", dataset.manifest, "--to", str(copied.root / "input" / "data"))
    assert dataset.run(copied).startswith("0\n")
    assert not (distant.root / "input" / "data").exists()
    one, other = (weights(job.root / "model") for job in (distant, copied))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture
def acting(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Callable[[Credentials], None]:
    """Has this process call the cloud as somebody."""

    def act(key: Credentials) -> None:
        for name, value in dataset.yard.cloud.environment(key).items():
            monkeypatch.setenv(name, value)
        # It keeps the keys that it found first.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    return act


def test_channels_may_be_prefixes(
    dataset: Dataset, acting: Callable[[Credentials], None], tmp_path: Path
) -> None:
    """As a step of a pipeline leaves them in S3."""
    dataset.yard.manifest("copy", "--manifest", dataset.manifest, "--to", str(tmp_path))
    names = ("train", "validation", "classes")
    for name in names:
        for path in (tmp_path / name).iterdir():
            dataset.yard.s3.upload_file(str(path), dataset.yard.output, f"jobs/data/{name}/{path.name}")
    acting(dataset.trainer)
    found = read_source("", {name: f"s3://{dataset.yard.output}/jobs/data/{name}" for name in names})
    assert found.classes() == read_classes(tmp_path / "classes")
    for name in ("train", "validation"):
        pairs = zip(found.entries(name), read_shards(tmp_path / name), strict=True)
        assert all((one.key, one.label, one.read()) == (two.key, two.label, two.read()) for one, two in pairs)
    assert not found.has("test")


def test_weights_may_be_in_s3(
    dataset: Dataset, acting: Callable[[Credentials], None], actor: Actor, tmp_path: Path
) -> None:
    """A file of them, or another job's model; of other classes."""
    yard, place = dataset.yard, f"s3://{dataset.yard.output}/jobs/dogs-0"
    state = create("test_resnet", 5, "group").state_dict()
    (tmp_path / "model").mkdir()
    save_file(state, tmp_path / "model" / "model.safetensors")
    pack(tmp_path / "model", tmp_path / "model.tar.gz")
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    for path in (*tmp_path.glob("*.gz"), tmp_path / "model" / "model.safetensors"):
        yard.s3.upload_file(str(path), yard.output, f"jobs/dogs-0/{path.name}")

    def started(name: str) -> dict[str, Any]:
        config = Config(backbone="test_resnet", pretrained=f"{place}/{name}", image_size=SIZE)
        found: dict[str, Any] = start(config, classes=2).network.state_dict()
        return found

    acting(dataset.trainer)
    for name in ("model.safetensors", "model.tar.gz"):
        own = started(name)
        assert all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith("fc."))
    with pytest.raises(UserError, match=f"^there is no {place}/other.safetensors$"):
        started("other.safetensors")
    with pytest.raises(UserError, match=f"^pretrained: {place}/broken.tar.gz: broken.tar.gz: "):
        started("broken.tar.gz")
    acting(actor([allow("s3:GetObject", f"arn:aws:s3:::{yard.output}/dogs/*")]))
    with pytest.raises(UserError, match=f"^{place}/model.tar.gz cannot be read: .*AccessDenied"):
        started("model.tar.gz")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("s3://{bucket}/cats", "s3://{bucket}/cats/manifests/ holds no manifest; write one: "),
        ("s3://{bucket}/dogs/manifests/0.json", "there is no s3://{bucket}/dogs/manifests/0.json"),
        ("s3://{bucket}/jobs/none/no.json", "there is no s3://{bucket}/jobs/none/no.json"),
    ],
)
def test_a_dataset_that_is_not_there_is_one_line(
    dataset: Dataset, acting: Callable[[Credentials], None], address: str, reason: str
) -> None:
    acting(dataset.trainer)
    bucket = dataset.yard.output
    with pytest.raises(UserError) as refused:
        read_source(resolved(address.format(bucket=bucket)), {})
    assert str(refused.value).startswith(reason.format(bucket=bucket))
    assert "\n" not in str(refused.value)


def test_shards_that_may_not_be_read_are_one_line(
    dataset: Dataset, acting: Callable[[Credentials], None], actor: Actor
) -> None:
    output = f"arn:aws:s3:::{dataset.yard.output}"
    acting(actor([allow("s3:ListBucket", output), allow("s3:GetObject", f"{output}/dogs/manifests/*")]))
    entries = read_source(resolved(dataset.folder), {}).entries("train")
    with pytest.raises(UserError, match=r"^s3://\S+/shards/\S+\.tar cannot be read: .*AccessDenied"):
        entries[0].read()


def test_a_host_trains_where_all_is_in_s3_and_in_the_table(dataset: Dataset, tmp_path: Path) -> None:
    """As ECS starts it: dataset, checkpoints, models and the job's record; nothing stays on the host."""
    yard, place = dataset.yard, f"s3://{dataset.yard.output}/jobs/dogs-1"
    command = ["-m", "training.rendezvous", "--port", "0"]
    rendezvous = Session(command, {}, tmp_path / "rendezvous.log")
    try:
        eventually(lambda: "on port" in rendezvous.log, lambda: rendezvous.log)
        port = rendezvous.log.rpartition(" ")[2].strip()
        host = Session(
            ["-m", "training.vision.launch"],
            {
                **yard.cloud.environment(dataset.trainer),
                "SAGEMAKER_BASE_DIR": str(tmp_path / "host"),
                "RENDEZVOUS_ENDPOINT": f"127.0.0.1:{port}",
                "JOB_NAME": "dogs-1",
                "JOB_TABLE": dataset.jobs,
                "TRAINING_CLUSTER": "tests",
                "PRICE_PER_HOST_HOUR": "1.0",
                "DATASET_URI": dataset.manifest,
                "CHECKPOINT_URI": f"{place}/checkpoints/",
                "OUTPUT_URI": f"{place}/output/",
                "HYPERPARAMETERS": json.dumps(HYPERPARAMETERS | SETTINGS),
            },
            tmp_path / "host.log",
        )
        try:
            assert host.wait() == 0, host.log
        finally:
            host.kill()
    finally:
        rendezvous.kill()
    key = {"id": {"S": "report/dogs-1"}}
    item = yard.dynamodb.get_item(TableName=dataset.jobs, Key=key, ConsistentRead=True)["Item"]
    assert item["outcome"] == {"S": "finished"}
    assert item["checkpoint_step"] == item["step"]
    assert item["checkpoint_key"]["S"].startswith("jobs/dogs-1/checkpoints/step-")
    assert float(item["cost"]["N"]) > 0
    models = {model["name"]: model for model in json.loads(item["models"]["S"])}
    best = models["best"]
    assert "of test" in best["figures"]["measured_on"]
    for model in models.values():
        body = _object(yard, f"jobs/dogs-1/output/{model['metrics']}")
        metrics = json.loads(body)["classification_metrics"]
        assert f"{metrics['top1']['value']:.4f}" == model["figures"]["top1"]
        folder = tmp_path / model["name"]
        archive = tmp_path / f"{model['name']}.tar.gz"
        archive.write_bytes(_object(yard, f"jobs/dogs-1/output/{model['archive']}"))
        unpack(archive, folder)
        load_image_model(folder)
    # Its log is where CloudWatch would read its metrics.
    lines = [json.loads(line) for line in host.log.splitlines() if line.startswith('{"_aws"')]
    assert any("Loss" in line and line["Job"] == "dogs-1" and line["Cluster"] == "tests" for line in lines)
    record = JobRecord(dataset.jobs, "dogs-1", 2, client=yard.dynamodb)
    record.progress(0)


def _object(yard: Yard, key: str) -> bytes:
    data: bytes = yard.s3.get_object(Bucket=yard.output, Key=key)["Body"].read()
    return data
