"""The table of jobs and of their capacity, through the `dynamodb` client."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from .admission import Capacity
from .aws_errors import code
from .aws_names import INDEX
from .errors import ContentionError, MissingError
from .item import CAPACITY, OPEN, job_id, of_capacity, of_job, report_id, to_capacity, to_job, to_report
from .job import Job
from .ports import Report

_TRIES = 12
_LONGEST_PAUSE_S = 0.2
_CHANCE = random.SystemRandom()


class DynamoJobs:
    """One item for each job, one for its trainer's report; `ports.Jobs`."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def read(self, name: str) -> Job | None:
        item = _item(self._client, self._table, job_id(name))
        return to_job(item) if item else None

    def create(self, job: Job) -> bool:
        return _put(
            self._client, self._table, of_job(job), {"ConditionExpression": "attribute_not_exists(id)"}
        )

    def change(self, name: str, change: Callable[[Job], Job]) -> Job:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_CHANCE.uniform(0, _LONGEST_PAUSE_S))
            before = self.read(name)
            if before is None:
                raise MissingError(f"there is no job {name}")
            after = change(before)
            if after == before:
                return before
            if after.generation == before.generation:
                after = replace(after, generation=after.generation + 1)
            if _put(self._client, self._table, of_job(after), _unchanged(before.generation)):
                return after
        raise ContentionError(f"job {name} changed {_TRIES} times while it was to be written; ask again")

    def open(self) -> Iterator[str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="standing = :open",
            ExpressionAttributeValues={":open": {"S": OPEN}},
        )
        for page in pages:
            yield from (item["id"]["S"].partition("/")[2] for item in page["Items"])

    def report(self, name: str) -> Report | None:
        item = _item(self._client, self._table, report_id(name))
        return to_report(item) if item else None


class DynamoCapacity:
    """The item that says who has slots; `admission.Store`."""

    def __init__(self, client: Any, table: str, total: int) -> None:
        self._client, self._table, self._total = client, table, total

    def read(self) -> Capacity:
        item = _item(self._client, self._table, CAPACITY)
        return to_capacity(item, self._total) if item else Capacity(total=self._total)

    def write(self, capacity: Capacity) -> bool:
        before = capacity.generation - 1
        condition = _unchanged(before) if before else {"ConditionExpression": "attribute_not_exists(id)"}
        return _put(self._client, self._table, of_capacity(capacity), condition)


def _item(client: Any, table: str, key: str) -> dict[str, Any] | None:
    answer = client.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=True)
    item: dict[str, Any] | None = answer.get("Item")
    return item


def _unchanged(generation: int) -> dict[str, Any]:
    return {
        "ConditionExpression": "generation = :before",
        "ExpressionAttributeValues": {":before": {"N": str(generation)}},
    }


def _put(client: Any, table: str, item: dict[str, Any], condition: dict[str, Any]) -> bool:
    try:
        client.put_item(TableName=table, Item=item, **condition)
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True
