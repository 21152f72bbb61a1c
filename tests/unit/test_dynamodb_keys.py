"""Which partition keys a request to DynamoDB names."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.differences.dynamodb_keys import leading_keys

TABLES = {
    "jobs": {
        "pk_name": "id",
        "GlobalSecondaryIndexes": [
            {"IndexName": "standing", "KeySchema": [{"AttributeName": "standing", "KeyType": "HASH"}]}
        ],
    },
    "ledger": {"pk_name": "dataset"},
}
ITEM = {"id": {"S": "report/a"}, "step": {"N": "1"}}
DOGS = {":d": {"S": "dogs"}, ":n": {"S": "a"}}


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ({"TableName": "jobs", "Key": {"id": {"S": "report/a"}}}, ["report/a"]),
        ({"TableName": "arn:aws:dynamodb:r:0:table/jobs", "Item": ITEM}, ["report/a"]),
        (
            {
                "TableName": "ledger",
                "KeyConditionExpression": "dataset = :d AND begins_with(#n, :n)",
                "ExpressionAttributeValues": DOGS,
            },
            ["dogs"],
        ),
        (
            {
                "TableName": "ledger",
                "KeyConditionExpression": "#name > :n AND #d=:d",
                "ExpressionAttributeNames": {"#d": "dataset", "#name": "name"},
                "ExpressionAttributeValues": DOGS,
            },
            ["dogs"],
        ),
        (
            {
                "TableName": "jobs",
                "IndexName": "standing",
                "KeyConditionExpression": "standing = :d",
                "ExpressionAttributeValues": DOGS,
            },
            ["dogs"],
        ),
        (
            {
                "TableName": "ledger",
                "KeyConditions": {
                    "dataset": {"AttributeValueList": [{"S": "cats"}], "ComparisonOperator": "EQ"}
                },
            },
            ["cats"],
        ),
        # What cannot be read is no key of any item.
        ({"TableName": "ledger", "KeyConditionExpression": "other = :d"}, [""]),
        (
            {
                "RequestItems": {
                    "jobs": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": {"id": {"S": "b"}}}}],
                    "ledger": {"Keys": [{"dataset": {"S": "dogs"}, "name": {"S": "1"}}]},
                }
            },
            ["report/a", "b", "dogs"],
        ),
        (
            {"TransactItems": [{"Put": {"TableName": "jobs", "Item": ITEM}}, {"Get": {"TableName": "x"}}]},
            ["report/a"],
        ),
        (
            {
                "Statements": [
                    {
                        "Statement": "INSERT INTO \"jobs\" VALUE {'id': ?, 'step': 1}",
                        "Parameters": [{"S": "a"}],
                    },
                    {"Statement": "UPDATE ledger SET step = 1 WHERE dataset = 'dogs' AND name = 'b'"},
                    {"Statement": 'SELECT * FROM "jobs"."standing" WHERE standing = \'open\''},
                    {"Statement": "not to be understood"},
                ]
            },
            ["a", "dogs", "open"],
        ),
        ({"Statement": "DELETE FROM ledger WHERE name = 'b'"}, [""]),
        ({"TransactStatements": [{"Statement": "EXISTS(SELECT * FROM jobs WHERE id = 'c')"}]}, ["c"]),
        ({"TableName": "jobs"}, None),  # Scan
        ({"TableName": "gone", "Key": {"id": {"S": "a"}}}, None),
    ],
)
def test_keys(request_: dict[str, Any], keys: list[str] | None) -> None:
    assert leading_keys(request_, TABLES) == keys
