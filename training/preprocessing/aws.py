"""The ports with boto3: SQS, S3, DynamoDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from training.common.failure import say
from training.common.images import TooLarge
from training.preprocessing.ports import Depth, Message, Stored, UnavailableError
from training.preprocessing.records import Record

GONE = ("NoSuchKey", "NoSuchVersion")
TAKEN = "PreconditionFailed"
# Two workers wrote the key at the same moment: S3 wants the loser to look again.
CONFLICT, TRIES = "ConditionalRequestConflict", 5
ENTRIES = 10  # of a request to SQS
KEYS = 1000  # of a request to delete from S3
WAITING, HELD = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"

Item = TypeVar("Item")


def client(service: str, connections: int = 32) -> Any:
    """A boto3 client that tries again for some time: what it gives up, is redelivered and done anew.

    Example:
        >>> SqsQueue(client("sqs"), queue_url).depth()  # doctest: +SKIP
    """
    retries = {"mode": "standard", "total_max_attempts": 6}
    return boto3.client(
        service,
        config=Config(retries=retries, max_pool_connections=connections, connect_timeout=10, read_timeout=60),
    )


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """`ports.Queue`.

    Args:
        sqs: boto3's client.
        url: the queue's.
    """

    sqs: Any
    url: str

    def receive(self, count: int, seconds: int, visibility: int) -> list[Message]:
        with _asking("receive messages"):
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(ENTRIES, count),
                WaitTimeSeconds=seconds,
                VisibilityTimeout=visibility,
            )
        found = answer.get("Messages", [])
        return [Message(item["MessageId"], item["ReceiptHandle"], item["Body"]) for item in found]

    def extend(self, messages: Sequence[Message], seconds: int) -> None:
        for part in _parts(messages, ENTRIES):
            entries = [{**entry, "VisibilityTimeout": seconds} for entry in _entries(part)]
            with _asking("change the visibility of messages"):
                self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def delete(self, messages: Sequence[Message]) -> None:
        for part in _parts(messages, ENTRIES):
            with _asking("delete messages"):
                answer = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=_entries(part))
            for failure in answer.get("Failed", []):
                message = part[int(failure["Id"])]
                say(f"message {message.id} comes again, it cannot be deleted: {failure.get('Message', '')}")

    def depth(self) -> Depth:
        with _asking("read the queue's depth"):
            answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[WAITING, HELD])
        return Depth(int(answer["Attributes"][WAITING]), int(answer["Attributes"][HELD]))


@dataclass(frozen=True, slots=True)
class S3Store:
    """`ports.Store`, hence `ports.Objects` too.

    A missing object is told from a forbidden one only with `s3:ListBucket` on the bucket: without it S3
    answers 403 to both.

    Args:
        s3: boto3's client.
        bucket: its name.
    """

    s3: Any
    bucket: str

    def get(self, key: str, version: str | None, limit: int) -> bytes | None:
        wanted = {"Bucket": self.bucket, "Key": key} | ({"VersionId": version} if version else {})
        with _asking(f"read s3://{self.bucket}/{key}"):
            try:
                answer = self.s3.get_object(**wanted)
            except ClientError as error:
                if _code(error) in GONE:
                    return None
                raise
            with answer["Body"] as body:
                if answer["ContentLength"] > limit:
                    raise TooLarge(f"is larger than {limit:,} bytes")
                data: bytes = body.read()
        return data

    def put_new(self, key: str, data: bytes) -> None:
        with _asking(f"write s3://{self.bucket}/{key}"):
            for tried in range(1, TRIES + 1):
                try:
                    self.s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
                except ClientError as error:
                    if _code(error) == TAKEN:
                        return
                    if _code(error) != CONFLICT or tried == TRIES:
                        raise
                else:
                    return

    def put(self, key: str, data: bytes) -> None:
        with _asking(f"write s3://{self.bucket}/{key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def list(self, prefix: str) -> Iterator[Stored]:
        with _asking(f"list s3://{self.bucket}/{prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for item in page.get("Contents", []):
                    yield Stored(item["Key"], item["Size"])

    def delete(self, keys: Iterable[str]) -> None:
        for part in _parts(list(keys), KEYS):
            with _asking(f"delete objects of s3://{self.bucket}"):
                named = {"Objects": [{"Key": key} for key in part], "Quiet": True}
                answer = self.s3.delete_objects(Bucket=self.bucket, Delete=named)
            for failure in answer.get("Errors", []):
                raise UnavailableError(f"cannot delete {failure['Key']}: {failure.get('Message', '')}")


@dataclass(frozen=True, slots=True)
class DynamoLedger:
    """`ports.Ledger` and `ports.Records`: a table with the keys `dataset` and `name`, both texts.

    All records of a dataset have one partition key: DynamoDB writes 1,000 of them a second.

    Args:
        dynamodb: boto3's client.
        table: its name.
        dataset: which of the table's datasets.
    """

    dynamodb: Any
    table: str
    dataset: str

    at_once: ClassVar[int] = 25  # statements of a batch

    def claim(self, records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
        """Most records are new: they are inserted in one request, which costs as much as one each. What is
        not inserted, for whatever reason, has a request of its own."""
        with _asking(f"write {len(records)} records to table {self.table}"):
            answer = self.dynamodb.batch_execute_statement(
                Statements=[self._insertion(record) for record in records]
            )
        for record, said in zip(records, answer["Responses"], strict=True):
            yield record, "Error" not in said or self._put(record)

    def _insertion(self, record: Record) -> dict[str, Any]:
        item = self._item(record)
        named = ", ".join(f"'{name}': ?" for name in item)
        return {
            "Statement": f'INSERT INTO "{self.table}" VALUE {{{named}}}',
            "Parameters": list(item.values()),
        }

    def _put(self, record: Record) -> bool:
        with _asking(f"write {record.name!r} to table {self.table}"):
            try:
                self.dynamodb.put_item(
                    TableName=self.table,
                    Item=self._item(record),
                    ConditionExpression="attribute_not_exists(#order) OR #order < :order",
                    ExpressionAttributeNames={"#order": "order"},
                    ExpressionAttributeValues={":order": {"S": record.order}},
                )
            except ClientError as error:
                if _code(error) == "ConditionalCheckFailedException":
                    return False
                raise
        return True

    def _item(self, record: Record) -> dict[str, dict[str, str]]:
        return {"dataset": {"S": self.dataset}} | {
            key: {"N": str(value)} if isinstance(value, int) else {"S": value}
            for key, value in asdict(record).items()
            if value not in ("", 0)
        }

    def all(self) -> Iterator[Record]:
        wanted = {field.name for field in fields(Record)}
        with _asking(f"read table {self.table}"):
            pages = self.dynamodb.get_paginator("query").paginate(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="#dataset = :dataset",
                ExpressionAttributeNames={"#dataset": "dataset"},
                ExpressionAttributeValues={":dataset": {"S": self.dataset}},
            )
            for page in pages:
                for item in page["Items"]:
                    yield Record(**{key: _value(item[key]) for key in wanted & item.keys()})


def _value(attribute: Mapping[str, str]) -> Any:
    """Of an attribute, a text or a number."""
    return int(attribute["N"]) if "N" in attribute else attribute["S"]


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise UnavailableError(f"cannot {what}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _parts(items: Sequence[Item], count: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _entries(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A batch is answered by the places of its entries."""
    return [{"Id": str(place), "ReceiptHandle": message.receipt} for place, message in enumerate(messages)]
