"""A model of images and one of rows: approved, deployed to one endpoint, asked through one function URL."""

from __future__ import annotations

import json
import ssl
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Signing
from inference_runtime.settings import Settings
from PIL import Image
from serving_runtime.aws_artifacts import S3Artifacts
from serving_runtime.aws_endpoint import SageMakerEndpoint
from serving_runtime.aws_metrics import CloudWatchMetrics
from serving_runtime.aws_records import DynamoRecords
from serving_runtime.aws_registry import SageMakerRegistry
from serving_runtime.ports import Ports
from serving_runtime.reconcile import reconcile
from serving_runtime.settings import Settings as DeployerSettings

from benchmarks.serving import NAME as ROWS_MODEL
from benchmarks.serving import make_model
from localcloud.context import Cloud, Credentials
from modelyard.archives import function_code
from modelyard.runtime.invoke import Invoker
from tests.local.catalogue_support import push_image
from tests.local.support import unique
from tests.unit.vision.vision_support import COLOURS, draw_folders, drawn, encoded, pack, train_small

pytestmark = [pytest.mark.torch, pytest.mark.timeout(1200)]
COLOUR = "red"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a kilobyte that claims to be this large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def pictures() -> dict[str, bytes]:
    """Images by name: each but the broken ones shows COLOUR."""
    plain = drawn(COLOURS[COLOUR], 5, (300, 200))
    large = drawn(COLOURS[COLOUR], 6, (1600, 1200))
    deep = (np.asarray(plain.convert("L")).astype(np.uint16) << 8) + 77
    jpeg = encoded(plain, "JPEG")
    return {
        "plain.png": encoded(plain),
        "photo.jpg": jpeg,
        "large.jpg": encoded(large, "JPEG", quality=90),
        "cmyk.jpg": encoded(plain.convert("CMYK"), "JPEG"),
        "16 bit.png": encoded(Image.fromarray(deep)),
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": encoded(plain)[:3000],
        "hundred-megapixels.png": bomb(10_000, 10_000),
        "notes.png": b"no image at all",
        "empty.png": b"",
    }


@dataclass(frozen=True)
class Service:
    """The deployed function: models by kind, and how they are asked."""

    cloud: Cloud
    caller: Credentials
    url: str
    bucket: str
    models: dict[str, str]
    records: dict[str, Any]

    def ask(self, **document: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(document).encode()
        request = AWSRequest("POST", self.url, headers={"Content-Type": "application/json"}, data=body)
        keys = Signing(self.caller.access_key_id, self.caller.secret_access_key, self.caller.session_token)
        SigV4Auth(keys, "lambda", self.cloud.region).add_auth(request)
        sent = urllib.request.Request(self.url, data=body, headers=dict(request.headers), method="POST")
        context = ssl.create_default_context(cafile=str(self.cloud.ca_bundle))
        try:
            with urllib.request.urlopen(sent, context=context, timeout=300) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def look_at(self, *names: str) -> tuple[int, dict[str, Any]]:
        addresses = [f"s3://{self.bucket}/images/{name}" for name in names]
        return self.ask(model=self.models["images"], images=addresses)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model archives by kind, as their pipelines would leave them."""
    root = tmp_path_factory.mktemp("models")
    draw_folders(root / "raw", 40)
    train_small(root / "images", root / "raw")
    make_model(root / "rows")
    folders = {"images": root / "images" / "model", "rows": root / "rows" / "models" / ROWS_MODEL / "model"}
    for kind, folder in folders.items():
        pack(folder, root / f"{kind}.tar.gz")
    return {kind: root / f"{kind}.tar.gz" for kind in folders}


def grants(cloud: Cloud, name: str, endpoint: str, groups: list[str], bucket: str) -> list[dict[str, Any]]:
    """What `InferenceFunction` grants its role."""
    place = f"{cloud.region}:{cloud.account}"
    allowed: dict[str, tuple[str | list[str], str]] = {
        "sagemaker:InvokeEndpoint": (f"arn:aws:sagemaker:{place}:endpoint/{endpoint}", "endpoint"),
        "dynamodb:GetItem": (f"arn:aws:dynamodb:{place}:table/{name}", ""),
        "s3:GetObject": (f"arn:aws:s3:::{bucket}/images/*", ""),
        "logs:*": ("*", ""),
    }
    targets = {"StringLike": {"sagemaker:TargetModel": [f"{group}/*.tar.gz" for group in groups]}}
    return [
        {
            "Effect": "Allow",
            "Action": action,
            "Resource": resource,
            **({"Condition": targets} if kind else {}),
        }
        for action, (resource, kind) in allowed.items()
    ]


@pytest.fixture(scope="module")
def service(
    cloud: Cloud,
    admin: Credentials,
    workplace: Any,
    deployer: Any,
    role: Callable[[str, list[dict[str, Any]]], str],
    archives: dict[str, Path],
) -> Service:
    name, bucket = unique("one-endpoint"), workplace.bucket
    image = push_image(cloud, admin, name, "serving.Dockerfile")
    for key, content in pictures().items():
        workplace.put(f"images/{key}", content)
    workplace.put("private/plain.png", pictures()["plain.png"])
    endpoint = deployer.up(
        deployer.model(name, Image=image, Mode="MultiModel", ModelDataUrl=workplace.uri(f"served/{name}/"))
    )
    table = cloud.client("dynamodb", admin)
    table.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    models = {kind: f"{name}-{kind}" for kind in archives}
    settings = DeployerSettings(
        endpoint_name=endpoint,
        table_name=name,
        groups=tuple(models.values()),
        artifact_bucket=bucket,
        artifact_prefix=f"served/{name}/",
    )
    ports = Ports(
        registry=SageMakerRegistry(workplace.sagemaker),
        records=DynamoRecords(table, name),
        artifacts=S3Artifacts(workplace.s3, settings),
        endpoint=SageMakerEndpoint(Invoker(workplace.runtime, endpoint), settings.replay_seconds),
        metrics=CloudWatchMetrics(cloud.client("cloudwatch", admin)),
    )
    records = {}
    for kind, archive in archives.items():
        workplace.sagemaker.create_model_package_group(ModelPackageGroupName=models[kind])
        container = {
            "Image": image,
            "ModelDataUrl": workplace.put(f"trained/{name}/{kind}/model.tar.gz", archive.read_bytes()),
        }
        workplace.sagemaker.create_model_package(
            ModelPackageGroupName=models[kind],
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelApprovalStatus="Approved",
        )
        records[kind] = reconcile(models[kind], ports, settings)
    function = Settings(
        endpoint_name=endpoint,
        table_name=name,
        models=tuple(models.values()),
        image_bucket=bucket,
        image_prefix="images/",
    )
    lambdas = cloud.client("lambda", admin)
    lambdas.create_function(
        FunctionName=name,
        Role=role("lambda.amazonaws.com", grants(cloud, name, endpoint, list(models.values()), bucket)),
        Runtime="python3.11",
        Handler="modelyard.inference.runtime.handler.handle",
        Code={"ZipFile": function_code("inference")},
        Timeout=function.timeout_seconds,
        Environment={"Variables": function.to_environment()},
    )
    url = lambdas.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    return Service(cloud, admin, url, bucket, models, records)


def test_the_deployer_replayed_golden_images_before_it_switched(service: Service) -> None:
    for record in service.records.values():
        assert (record.serving.version, record.error) == (1, None)


def test_an_image_is_predicted_by_each_of_its_addresses(service: Service) -> None:
    region = service.cloud.region
    status, answer = service.ask(
        model=service.models["images"],
        images=[
            f"s3://{service.bucket}/images/plain.png",
            f"https://{service.bucket}.s3.{region}.amazonaws.com/images/plain.png",
            f"https://s3.{region}.amazonaws.com/{service.bucket}/images/16%20bit.png",
            f"https://{service.bucket}.s3.amazonaws.com/images/large.jpg",
        ],
    )
    assert (status, answer.get("version")) == (200, 1), answer
    plain, again, _deep, large = answer["predictions"]
    assert plain == again
    assert plain["label"] == large["label"] == COLOUR
    assert sum(plain["probabilities"].values()) == pytest.approx(1)


def test_cmyk_and_16_bit_are_images(service: Service) -> None:
    status, answer = service.look_at("photo.jpg", "cmyk.jpg", "16 bit.png")
    assert status == 200, answer
    assert [item["label"] for item in answer["predictions"][:2]] == [COLOUR, COLOUR]


def test_rows_are_predicted_beside_images(service: Service) -> None:
    row = {f"feature_{number}": 0.5 for number in range(20)}
    status, answer = service.ask(model=service.models["rows"], instances=[row])
    assert status == 200, answer
    assert isinstance(answer["predictions"][0], float)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.jpg", "is truncated or broken"),
        ("truncated.png", "is truncated or broken"),
        ("hundred-megapixels.png", "has 10000 x 10000 pixels, more than 25,000,000"),
        ("notes.png", "is neither a JPEG nor a PNG image"),
        ("empty.png", "is empty"),
    ],
)
def test_what_is_no_usable_image_is_refused_with_its_reason(service: Service, name: str, reason: str) -> None:
    status, answer = service.look_at("plain.png", name)
    assert (status, answer["error"]["code"]) == (422, "invalid_images")
    assert f"image 2 {reason}" in answer["error"]["message"]


def test_a_model_of_rows_says_that_it_takes_no_images(service: Service) -> None:
    address = f"s3://{service.bucket}/images/plain.png"
    status, answer = service.ask(model=service.models["rows"], images=[address])
    assert (status, answer["error"]["code"]) == (422, "invalid_images")


@pytest.mark.parametrize(
    "address",
    [
        "s3://{}/private/plain.png",
        "s3://{}/images/../private/plain.png",
        "https://localhost/{}/images/plain.png",
    ],
)
def test_nothing_else_is_read(service: Service, address: str) -> None:
    status, answer = service.ask(model=service.models["images"], images=[address.format(service.bucket)])
    assert (status, answer["error"]["code"]) == (422, "image_not_allowed")


def test_an_image_that_is_not_there(service: Service) -> None:
    status, answer = service.look_at("none.png")
    assert (status, answer["error"]["code"]) in ((404, "image_not_found"), (404, "image_denied"))
