"""What MiniStack alone would allow otherwise than AWS: metrics' namespaces, policies of buckets and keys."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, Role, allow, code_of, unique


class TestMetricNamespaces:
    @staticmethod
    def put(client: Any, namespace: str) -> None:
        client.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "m", "Value": 1.0}])

    def test_a_grant_on_a_namespace(self, cloud: Cloud, actor: Actor) -> None:
        grant = {
            **allow("cloudwatch:PutMetricData"),
            "Condition": {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        }
        client = cloud.client("cloudwatch", actor([grant]))
        self.put(client, "/aws/sagemaker/TrainingJobs")
        assert code_of(lambda: self.put(client, "other"))[0].startswith("AccessDenied")

    def test_namespaces_of_aws_are_closed(self, cloud: Cloud, admin: Credentials) -> None:
        code, message = code_of(lambda: self.put(cloud.client("cloudwatch", admin), "AWS/SageMaker"))
        assert (code, "Namespace is invalid" in message) == ("InvalidParameterValue", True)


class TestResourcePolicies:
    """Policies of buckets and keys name principals that exist."""

    @staticmethod
    def document(principal: str, resource: str) -> dict[str, Any]:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": principal},
            "Action": "*" if resource == "*" else "s3:GetObject",
            "Resource": resource,
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    def test_of_a_bucket(self, cloud: Cloud, admin: Credentials, role: Role, deploy: Any) -> None:
        s3, bucket = cloud.client("s3", admin), unique("policy")
        s3.create_bucket(Bucket=bucket)
        known, own = role("lambda.amazonaws.com", []), f"arn:aws:s3:::{bucket}/*"

        def put(principal: str, resource: str) -> None:
            s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(self.document(principal, resource)))

        put(known, own)
        put("000000000000", own)
        assert code_of(lambda: put(f"{known}-gone", own)) == (
            "MalformedPolicy", "Invalid principal in policy",
        )  # fmt: skip
        assert code_of(lambda: put(known, "arn:aws:s3:::other/*")) == (
            "MalformedPolicy", "Policy has invalid resource",
        )  # fmt: skip

        def resources(principal: str) -> dict[str, Any]:
            properties = {"Bucket": bucket, "PolicyDocument": self.document(principal, own)}
            return {"Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": properties}}

        deploy(unique("policy"), resources(known))
        with pytest.raises(WaiterError):
            deploy(unique("policy"), resources(f"{known}-gone"))

    def test_of_a_key(self, cloud: Cloud, admin: Credentials, role: Role) -> None:
        kms = cloud.client("kms", admin)

        def create(principal: str) -> None:
            kms.create_key(Policy=json.dumps(self.document(principal, "*")))

        create(role("lambda.amazonaws.com", []))
        code, message = code_of(lambda: create("arn:aws:iam::000000000000:role/gone"))
        assert code == "MalformedPolicyDocumentException"
        assert "invalid principals" in message


def test_batches_of_messages_need_what_single_ones_need(
    cloud: Cloud, admin: Credentials, actor: Actor
) -> None:
    url = cloud.client("sqs", admin).create_queue(QueueName=unique("batches"))["QueueUrl"]
    single = ("SendMessage", "ReceiveMessage", "ChangeMessageVisibility", "DeleteMessage")
    sqs = cloud.client("sqs", actor([allow([f"sqs:{action}" for action in single])]))
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "one"}])
    receipt = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["ReceiptHandle"]
    entry = {"Id": "1", "ReceiptHandle": receipt}
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 60}])
    sqs.delete_message_batch(QueueUrl=url, Entries=[entry])
    other = cloud.client("sqs", actor([allow("sqs:DeleteMessageBatch")]))
    assert code_of(lambda: other.delete_message_batch(QueueUrl=url, Entries=[entry]))[0] == "AccessDenied"


def test_reading_a_log_stream_needs_a_grant_on_it(cloud: Cloud, admin: Credentials, actor: Actor) -> None:
    logs, group = cloud.client("logs", admin), unique("group")
    logs.create_log_group(logGroupName=group)
    for stream in ("a", "b"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    arn = described["arn"].removesuffix(":*")

    def read(grant: str, **group_asked: str) -> None:
        client = cloud.client("logs", actor([allow("logs:GetLogEvents", grant)]))
        client.get_log_events(logStreamName="a", **group_asked)

    # As CloudFormation has a group's ARN, which covers its streams; and one stream.
    for grant in (f"{arn}:*", f"{arn}:log-stream:a"):
        read(grant, logGroupName=group)
        read(grant, logGroupIdentifier=arn)
    for grant in (f"{arn}:log-stream:b", f"{arn}x:*", arn):
        for asked in ({"logGroupName": group}, {"logGroupIdentifier": arn}):
            code, _ = code_of(lambda grant=grant, asked=asked: read(grant, **asked))
            assert code == "AccessDeniedException"


def table_of_owners(cloud: Cloud, admin: Credentials) -> str:
    """A new table with the keys `owner` and `name`."""
    table = unique("partitions")
    cloud.client("dynamodb", admin).create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "owner", "KeyType": "HASH"},
            {"AttributeName": "name", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("owner", "name")],
    )
    return table


class TestLeadingKeys:
    """A grant of one partition is none of the others; MiniStack alone knows no `dynamodb:LeadingKeys`."""

    def test_a_grant_ends_at_its_partition(self, cloud: Cloud, admin: Credentials, actor: Actor) -> None:
        table = table_of_owners(cloud, admin)
        mine = {
            **allow(
                ["dynamodb:PutItem", "dynamodb:Query", "dynamodb:GetItem"],
                f"arn:aws:dynamodb:*:*:table/{table}",
            ),
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["me/*"]}},
        }
        client = cloud.client("dynamodb", actor([mine]))

        def put(owner: str) -> None:
            client.put_item(TableName=table, Item={"owner": {"S": owner}, "name": {"S": "a"}})

        def query(owner: str) -> int:
            found = client.query(
                TableName=table,
                KeyConditionExpression="#o = :o",
                ExpressionAttributeNames={"#o": "owner"},
                ExpressionAttributeValues={":o": {"S": owner}},
            )
            return int(found["Count"])

        put("me/1")
        assert query("me/1") == 1
        for call in (put, query):
            assert code_of(lambda call=call: call("you"))[0] == "AccessDeniedException"
        key = {"owner": {"S": "you"}, "name": {"S": "a"}}
        assert code_of(lambda: client.get_item(TableName=table, Key=key))[0] == "AccessDeniedException"


class TestStatements:
    """PartiQL needs actions of its own, on its tables; MiniStack alone asks for others, on any resource."""

    def test_a_grant_to_insert_is_none_to_do_else(
        self, cloud: Cloud, admin: Credentials, actor: Actor
    ) -> None:
        table = table_of_owners(cloud, admin)
        mine = {
            **allow("dynamodb:PartiQLInsert", f"arn:aws:dynamodb:*:*:table/{table}"),
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["me/*"]}},
        }
        client = cloud.client("dynamodb", actor([mine]))

        def insert(*owners: str, into: str = table) -> list[str]:
            statements = [
                {
                    "Statement": f"""INSERT INTO "{into}" VALUE {{'owner': ?, 'name': ?}}""",
                    "Parameters": [{"S": owner}, {"S": "a"}],
                }
                for owner in owners
            ]
            answer = client.batch_execute_statement(Statements=statements)
            return [each.get("Error", {}).get("Code", "") for each in answer["Responses"]]

        assert insert("me/1") == [""]
        assert insert("me/1", "me/2") == ["DuplicateItem", ""]
        other = table_of_owners(cloud, admin)
        wholly = f'SELECT * FROM "{table}"'
        for call in (
            lambda: insert("me/3", "you"),
            lambda: insert("me/3", into=other),
            lambda: client.execute_statement(Statement=wholly),
            lambda: client.execute_statement(Statement=f"{wholly} WHERE owner = 'me/1' AND name = 'a'"),
            lambda: client.execute_statement(
                Statement=f"""DELETE FROM "{table}" WHERE owner = 'me/1' AND name = 'a'"""
            ),
            lambda: client.execute_transaction(
                TransactStatements=[
                    {"Statement": f"""UPDATE "{table}" SET x = 1 WHERE owner = 'me/1' AND name = 'a'"""}
                ]
            ),
            lambda: client.put_item(TableName=table, Item={"owner": {"S": "me/3"}, "name": {"S": "a"}}),
        ):
            assert code_of(call)[0] == "AccessDeniedException"
        found = cloud.client("dynamodb", admin).execute_statement(Statement=wholly)["Items"]
        assert sorted(item["owner"]["S"] for item in found) == ["me/1", "me/2"]

    def test_a_grant_to_select_is_one_of_its_partition(
        self, cloud: Cloud, admin: Credentials, actor: Actor
    ) -> None:
        table = table_of_owners(cloud, admin)
        mine = {
            **allow("dynamodb:PartiQLSelect", f"arn:aws:dynamodb:*:*:table/{table}"),
            "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["me"]}},
        }
        client = cloud.client("dynamodb", actor([mine]))
        select = f'SELECT * FROM "{table}"'
        assert client.execute_statement(Statement=f"{select} WHERE owner = 'me'")["Items"] == []
        for where in ("", " WHERE owner = 'you'", " WHERE owner = 'me' OR owner = 'you'"):
            call = partial(client.execute_statement, Statement=select + where)
            assert code_of(call)[0] == "AccessDeniedException", where
