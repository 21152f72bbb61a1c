"""The inference function with its surroundings made of fakes."""

import base64
import io
import json

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from inference_runtime.api import Api
from inference_runtime.image_addresses import ImagePlace
from inference_runtime.images import Images
from inference_runtime.models import Models
from inference_runtime.predict import Predictor
from inference_runtime.settings import Settings

from modelyard.runtime.invoke import Invoker

SETTINGS = Settings(
    endpoint_name="models", table_name="records", models=("loans", "homes"), max_body_bytes=2000, max_rows=5
)
PLACE = ImagePlace(bucket="data", prefix="images/", region="eu-west-1")
ROW = {"fico": 700, "state": "CA", "dti": 12.5, "joint": False, "income": None}
CALL = {"model": "loans", "instances": [ROW]}


def client_error(code, status, **members):
    answer = {
        "Error": {"Code": code, "Message": "its message"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError({**answer, **members}, "InvokeEndpoint")


def deployment(version, **members):
    return {
        "M": {
            "version": {"N": str(version)},
            "package_arn": {"S": "arn"},
            "artifact": {"S": f"loans/{version}-abc.tar.gz"},
            "sha256": {"S": "abc"},
            "since": {"S": "then"},
            **members,
        }
    }


class FakeTable:
    """DynamoDB with one deployed model, loans version 3; homes has none."""

    def __init__(self):
        self.version, self.canary, self.percent, self.reads, self.error = 3, None, 0, 0, None

    def get_item(self, TableName, Key, ConsistentRead):
        self.reads += 1
        if self.error:
            raise self.error
        assert (TableName, ConsistentRead) == ("records", True)
        group = Key["group"]["S"]
        if group != "loans":
            return {}
        item = {"group": {"S": group}, "generation": {"N": "1"}}
        if self.version is not None:
            item["serving"] = deployment(self.version)
        if self.canary is not None:
            item["canary"] = deployment(self.canary, percent={"N": str(self.percent)})
        return {"Item": item}


class FakeEndpoint:
    """Predicts 1.5 for every row, after the errors it is given: for all models, or (`broken`) for one."""

    def __init__(self):
        self.errors, self.broken, self.calls, self.answer = [], {}, [], None

    def invoke_endpoint(self, **call):
        self.calls.append(call)
        if self.errors:
            raise self.errors.pop(0)
        version = int(call["TargetModel"].split("/")[1].split("-")[0])
        if version in self.broken:
            raise self.broken[version]
        rows = json.loads(call["Body"])["instances"]
        answer = (
            json.dumps({"predictions": [1.5] * len(rows)}).encode() if self.answer is None else self.answer
        )
        return {"Body": StreamingBody(io.BytesIO(answer), len(answer))}

    @property
    def asked(self):
        return [call["TargetModel"] for call in self.calls]


class FakeBucket:
    """S3 with the objects it is given; `errors` by key are raised instead, `reads` are the keys asked for."""

    def __init__(self, objects=()):
        self.objects, self.errors, self.reads, self.made = dict(objects), {}, [], 0

    def client(self):
        self.made += 1
        return self

    def get_object(self, Bucket, Key):
        assert Bucket == PLACE.bucket
        self.reads.append(Key)
        if Key in self.errors:
            raise self.errors[Key]
        if Key not in self.objects:
            raise client_error("NoSuchKey", 404)
        data = self.objects[Key]
        return {"ContentLength": len(data), "Body": StreamingBody(io.BytesIO(data), len(data))}


class World:
    """The function with its surroundings, and a clock that only sleep moves. `bucket`: of images, or None."""

    def __init__(self, settings=SETTINGS, chance=lambda: 0.0, bucket=None, max_images=4):
        self.now = 0.0
        self.table, self.endpoint, self.bucket = FakeTable(), FakeEndpoint(), bucket
        self.api = Api(
            settings,
            Models(self.table, settings, clock=lambda: self.now),
            Predictor(
                *(
                    Invoker(self.endpoint, "models", sleep=self.sleep, clock=lambda: self.now)
                    for _ in range(2)
                ),
                settings.retry_seconds,
                chance=chance,
                clock=lambda: self.now,
            ),
            bucket and Images(bucket.client, PLACE, max_images, clock=lambda: self.now),
        )

    def sleep(self, seconds):
        self.now += seconds

    def send(
        self,
        body=CALL,
        *,
        method="POST",
        path="/",
        content_type="application/json",
        encode=False,
        query="",
    ):
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        data = text.encode() if isinstance(text, str) else text
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {} if content_type is None else {"Content-Type": content_type},
            "requestContext": {"http": {"method": method, "path": path}},
            "body": base64.b64encode(data).decode() if encode or isinstance(body, bytes) else text,
            "isBase64Encoded": encode or isinstance(body, bytes),
        }
        answer = self.api.answer(event, "request-1")
        content = json.loads(answer["body"], parse_constant=_refuse)
        assert content["request_id"] == "request-1"
        assert answer["headers"]["content-type"] == "application/json"
        return answer["statusCode"], content, answer["headers"]


def _refuse(constant):
    raise AssertionError(f"{constant} in an answer")


def refused(world, *args, **kwargs):
    """Status, code and message of an answer that is an error."""
    status, content, _ = world.send(*args, **kwargs)
    return status, content["error"]["code"], content["error"]["message"]
