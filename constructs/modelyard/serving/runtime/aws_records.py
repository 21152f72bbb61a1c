"""The table of records, through the `dynamodb` client."""

from typing import Any

from botocore.exceptions import ClientError

from .aws_errors import code
from .errors import OutdatedError
from .item import from_item, to_item
from .record import Record


class DynamoRecords:
    """One item per group, through the `dynamodb` client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def read(self, group: str) -> Record:
        answer = self._client.get_item(
            TableName=self._table, Key={"group": {"S": group}}, ConsistentRead=True
        )
        return from_item(answer["Item"]) if "Item" in answer else Record(group=group)

    def write(self, record: Record, *, expected: int) -> None:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(generation)"}
        if expected:
            condition = {
                "ConditionExpression": "generation = :expected",
                "ExpressionAttributeValues": {":expected": {"N": str(expected)}},
            }
        try:
            self._client.put_item(TableName=self._table, Item=to_item(record), **condition)
        except ClientError as error:
            if code(error) == "ConditionalCheckFailedException":
                raise OutdatedError(f"{record.group} is no longer at generation {expected}") from error
            raise
