"""The deployer on S3 and DynamoDB: its record, the artifacts that it fetches, publishes and deletes."""

import hashlib
import io
from dataclasses import replace

import pytest
from serving_runtime.aws_artifacts import S3Artifacts
from serving_runtime.aws_records import DynamoRecords
from serving_runtime.errors import DeployError, OutdatedError
from serving_runtime.item import from_item, to_item
from serving_runtime.ports import Archive
from serving_runtime.record import Canary, Failure, Record, Verdict

from tests.unit.deployer.deployer_support import DEPLOYMENT, SETTINGS, body, put_of


@pytest.mark.parametrize(
    "record",
    [
        Record(group="loans", generation=1, updated="now"),
        Record(
            group="loans",
            generation=7,
            serving=DEPLOYMENT,
            previous=DEPLOYMENT,
            error=Failure(version=4, message="no", at="now"),
            updated="now",
        ),
        Record(
            group="loans",
            generation=8,
            desired=3,
            serving=replace(DEPLOYMENT, probe='{"fico":700}'),
            canary=Canary(deployment=DEPLOYMENT, percent=10),
            verdict=Verdict(version=2, outcome="promoted", reason="2 of 900 failed", at="then"),
            unused={"loans/1-abc.tar.gz": "then"},
            deleting={"loans/0-abc.tar.gz": "now"},
            updated="now",
        ),
    ],
)
def test_record_survives_the_table(record):
    assert from_item(to_item(record)) == record


def test_record_is_read_consistently_and_written_on_condition(stubbed):
    client, stub = stubbed("dynamodb")
    key = {"TableName": "records", "Key": {"group": {"S": "loans"}}, "ConsistentRead": True}
    stub.add_response("get_item", {}, key)
    new = Record(group="loans", generation=1, updated="now")
    put = {"TableName": "records", "Item": to_item(new)}
    stub.add_response("put_item", {}, {**put, "ConditionExpression": "attribute_not_exists(generation)"})
    records = DynamoRecords(client, "records")
    assert records.read("loans") == Record(group="loans")
    records.write(new, expected=0)
    stub.add_client_error(
        "put_item",
        "ConditionalCheckFailedException",
        expected_params={
            **put,
            "ConditionExpression": "generation = :expected",
            "ExpressionAttributeValues": {":expected": {"N": "5"}},
        },
    )
    with pytest.raises(OutdatedError):
        records.write(new, expected=5)


def test_fetches_with_its_hash(stubbed):
    client, stub = stubbed("s3")
    stub.add_response("get_object", {"Body": body(b"model")}, {"Bucket": "train", "Key": "a/model.tar.gz"})
    with S3Artifacts(client, SETTINGS).fetch("s3://train/a/model.tar.gz") as archive:
        archive.file.seek(0)
        assert archive.file.read() == b"model"
        assert archive.sha256 == hashlib.sha256(b"model").hexdigest()


def test_fetch_refuses_what_is_too_large_or_missing(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("get_object", {"Body": body(b"x" * 1001)})
    with pytest.raises(DeployError, match="more than 1000 bytes"), artifacts.fetch("s3://train/model"):
        pass
    stub.add_client_error("get_object", "NoSuchKey", "The specified key does not exist.")
    with pytest.raises(DeployError, match="cannot read s3://train/model: The specified"):
        artifacts.fetch("s3://train/model").__enter__()


@pytest.mark.parametrize(
    "url", ["", "https://host/key", "s3://", "s3://bucket", "s3://bucket/", "s3://bucket/dir/"]
)
def test_fetch_refuses_what_is_no_object(stubbed, url):
    with pytest.raises(DeployError, match="is no S3 object"), S3Artifacts(None, SETTINGS).fetch(url):
        pass


def archive(data):
    return Archive(file=io.BytesIO(data), sha256=hashlib.sha256(data).hexdigest())


def test_publishes_encrypted_and_never_over_another(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("put_object", {}, put_of(b"model"))
    artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")
    for existing in (b"model", b"other"):
        stub.add_client_error("put_object", "PreconditionFailed", expected_params=put_of(b"model"))
        stub.add_response("get_object", {"Body": body(existing)})
        if existing == b"model":
            artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")
        else:
            with pytest.raises(DeployError, match="exists with other content"):
                artifacts.publish(archive(b"model"), "loans/3-abc.tar.gz")


def test_refused_publication_says_why(stubbed):
    client, stub = stubbed("s3")
    stub.add_client_error("put_object", "AccessDenied", "Access Denied")
    with pytest.raises(
        DeployError, match=r"cannot write s3://data/models/multi/loans/3\.tar\.gz: Access Denied"
    ):
        S3Artifacts(client, SETTINGS).publish(archive(b"model"), "loans/3.tar.gz")
    stub.add_client_error("put_object", "ConditionalRequestConflict")
    with pytest.raises(OutdatedError):
        S3Artifacts(client, SETTINGS).publish(archive(b"model"), "loans/3.tar.gz")


def test_lists_the_artifacts_of_one_group(stubbed):
    client, stub = stubbed("s3")
    asked = {"Bucket": "data", "Prefix": "models/multi/loans/"}
    keys = [{"Key": "models/multi/loans/1-abc.tar.gz"}]
    more = {"Contents": keys, "IsTruncated": True, "NextContinuationToken": "more"}
    stub.add_response("list_objects_v2", more, asked)
    keys = [{"Key": "models/multi/loans/2-abc.tar.gz"}]
    stub.add_response("list_objects_v2", {"Contents": keys}, {**asked, "ContinuationToken": "more"})
    present = S3Artifacts(client, SETTINGS).present("loans")
    assert present == {"loans/1-abc.tar.gz", "loans/2-abc.tar.gz"}
    stub.add_client_error("list_objects_v2", "AccessDenied", "Access Denied")
    with pytest.raises(DeployError, match="cannot list s3://data/models/multi/loans/: Access Denied"):
        S3Artifacts(client, SETTINGS).present("loans")


def test_deletes_one_artifact(stubbed):
    client, stub = stubbed("s3")
    artifacts = S3Artifacts(client, SETTINGS)
    stub.add_response("delete_object", {}, {"Bucket": "data", "Key": "models/multi/loans/1-abc.tar.gz"})
    artifacts.delete("loans/1-abc.tar.gz")
    stub.add_client_error("delete_object", "AccessDenied", "Access Denied")
    with pytest.raises(DeployError, match=r"cannot delete s3://data/models/multi/l\.tar\.gz: Access Denied"):
        artifacts.delete("l.tar.gz")
