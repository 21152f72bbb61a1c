"""What MiniStack alone would allow or say otherwise than AWS: one test per difference that is closed."""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from localcloud.context import Cloud, Credentials

Statements = list[dict[str, Any]]
Actor = Callable[[Statements], Credentials]
Role = Callable[[str, Statements], str]

CODE = "def handler(event, context):\n    return {'ok': True}\n"


def code_of(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def allow(action: str | list[str], resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def archive(code: str = CODE) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("index.py", code)
    return buffer.getvalue()


def function(name: str, role: str) -> dict[str, Any]:
    return {
        "FunctionName": name,
        "Role": role,
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Code": {"ZipFile": archive()},
    }


@pytest.fixture(scope="module")
def key(cloud: Cloud, admin: Credentials) -> str:
    arn: str = cloud.client("kms", admin).create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def deploy(cloud: Cloud, admin: Credentials) -> Callable[..., dict[str, str]]:
    """Create or update a stack; its outputs."""
    client = cloud.client("cloudformation", admin)

    def run(name: str, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> dict[str, str]:
        document = {"Resources": resources, "Outputs": {k: {"Value": v} for k, v in (outputs or {}).items()}}
        names = {stack["StackName"] for stack in client.describe_stacks()["Stacks"]}
        verb = "update" if name in names else "create"
        getattr(client, f"{verb}_stack")(StackName=name, TemplateBody=json.dumps(document))
        client.get_waiter(f"stack_{verb}_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        found = client.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    return run


class TestEncryptedObjects:
    BUCKET = "encrypted-objects"

    @pytest.fixture(scope="class", autouse=True)
    def bucket(self, cloud: Cloud, admin: Credentials, key: str) -> None:
        s3 = cloud.client("s3", admin)
        s3.create_bucket(Bucket=self.BUCKET)
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        s3.put_bucket_encryption(
            Bucket=self.BUCKET,
            ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
        )
        s3.put_object(Bucket=self.BUCKET, Key="there", Body=b"secret")

    def test_write_needs_a_data_key(self, cloud: Cloud, actor: Actor, key: str) -> None:
        without = cloud.client("s3", actor([allow("s3:*")]))
        code, message = code_of(lambda: without.put_object(Bucket=self.BUCKET, Key="a", Body=b"1"))
        assert code == "AccessDenied"
        assert "kms:GenerateDataKey" in message
        with_key = cloud.client("s3", actor([allow("s3:*"), allow("kms:GenerateDataKey", key)]))
        with_key.put_object(Bucket=self.BUCKET, Key="a", Body=b"1")

    def test_read_needs_decrypt(self, cloud: Cloud, actor: Actor, key: str) -> None:
        without = cloud.client("s3", actor([allow("s3:*")]))
        code, message = code_of(lambda: without.get_object(Bucket=self.BUCKET, Key="there"))
        assert code == "AccessDenied"
        assert "kms:Decrypt" in message
        without.head_object(Bucket=self.BUCKET, Key="there")
        with_key = cloud.client("s3", actor([allow("s3:*"), allow("kms:Decrypt", key)]))
        assert with_key.get_object(Bucket=self.BUCKET, Key="there")["Body"].read() == b"secret"

    def test_copy_needs_both(self, cloud: Cloud, actor: Actor, key: str) -> None:
        source = {"Bucket": self.BUCKET, "Key": "there"}
        for granted in ("kms:Decrypt", "kms:GenerateDataKey"):
            half = cloud.client("s3", actor([allow("s3:*"), allow(granted, key)]))
            code, _message = code_of(lambda: half.copy_object(Bucket=self.BUCKET, Key="c", CopySource=source))  # noqa: B023
            assert code == "AccessDenied"
        both = cloud.client("s3", actor([allow("s3:*"), allow(["kms:Decrypt", "kms:GenerateDataKey"], key)]))
        both.copy_object(Bucket=self.BUCKET, Key="c", CopySource=source)

    def test_copied_part_needs_decrypt(self, cloud: Cloud, actor: Actor, key: str) -> None:
        cloud_s3 = cloud.client("s3", actor([allow("s3:*")]))
        cloud_s3.create_bucket(Bucket="copied-parts")
        upload = cloud_s3.create_multipart_upload(Bucket="copied-parts", Key="a")["UploadId"]
        part = {"Bucket": "copied-parts", "Key": "a", "UploadId": upload, "PartNumber": 1}
        source = {"Bucket": self.BUCKET, "Key": "there"}
        code, message = code_of(lambda: cloud_s3.upload_part_copy(CopySource=source, **part))
        assert code == "AccessDenied"
        assert "kms:Decrypt" in message
        with_key = cloud.client("s3", actor([allow("s3:*"), allow("kms:Decrypt", key)]))
        with_key.upload_part_copy(CopySource=source, **part)

    def test_multipart_upload_needs_both(self, cloud: Cloud, actor: Actor, key: str) -> None:
        half = cloud.client("s3", actor([allow("s3:*"), allow("kms:GenerateDataKey", key)]))
        code, message = code_of(lambda: half.create_multipart_upload(Bucket=self.BUCKET, Key="m"))
        assert code == "AccessDenied"
        assert "kms:Decrypt" in message

    def test_via_service_condition(self, cloud: Cloud, actor: Actor, key: str) -> None:
        def reader(service: str) -> Any:
            grant = allow("kms:Decrypt", key)
            grant["Condition"] = {"StringEquals": {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}}
            return cloud.client("s3", actor([allow("s3:*"), grant]))

        reader("s3").get_object(Bucket=self.BUCKET, Key="there")
        assert code_of(lambda: reader("sqs").get_object(Bucket=self.BUCKET, Key="there"))[0] == "AccessDenied"

    def test_presigned_url_is_held_to_it(self, cloud: Cloud, actor: Actor, key: str) -> None:
        import ssl
        import urllib.error
        import urllib.request

        def fetch(credentials: Credentials) -> int:
            client = cloud.client("s3", credentials)
            url = client.generate_presigned_url("get_object", {"Bucket": self.BUCKET, "Key": "there"})
            context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
            try:
                with urllib.request.urlopen(url, context=context) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert fetch(actor([allow("s3:*"), allow("kms:Decrypt", key)])) == 200
        assert fetch(actor([allow("s3:*")])) == 403

    def test_aws_managed_key_is_open_to_the_account(
        self, cloud: Cloud, admin: Credentials, actor: Actor
    ) -> None:
        cloud.client("s3", admin).create_bucket(Bucket="managed-key-objects")
        s3 = cloud.client("s3", actor([allow("s3:*")]))
        s3.put_object(Bucket="managed-key-objects", Key="a", Body=b"1", ServerSideEncryption="aws:kms")
        assert s3.get_object(Bucket="managed-key-objects", Key="a")["ServerSideEncryption"] == "aws:kms"

    def test_missing_key(self, cloud: Cloud, admin: Credentials) -> None:
        s3 = cloud.client("s3", admin)
        gone = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
        code, _message = code_of(
            lambda: s3.put_object(
                Bucket=self.BUCKET, Key="x", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=gone
            )
        )
        assert code == "KMS.NotFoundException"


class TestObjectPermissions:
    BUCKET = "object-permissions"
    OBJECTS = f"arn:aws:s3:::{BUCKET}/*"

    @pytest.fixture(scope="class", autouse=True)
    def bucket(self, cloud: Cloud, admin: Credentials) -> None:
        cloud.client("s3", admin).create_bucket(Bucket=self.BUCKET)

    def test_tags_need_their_permission(self, cloud: Cloud, actor: Actor) -> None:
        tagged = {"Bucket": self.BUCKET, "Key": "tagged", "Tagging": "a=b"}
        writer = cloud.client("s3", actor([allow("s3:PutObject", self.OBJECTS)]))
        writer.put_object(Bucket=self.BUCKET, Key="plain", Body=b"")
        for call in (writer.put_object, writer.create_multipart_upload):
            code, message = code_of(lambda: call(**tagged))  # noqa: B023
            assert code == "AccessDenied"
            assert "s3:PutObjectTagging" in message
        both = allow(["s3:PutObject", "s3:PutObjectTagging"], self.OBJECTS)
        cloud.client("s3", actor([both])).put_object(**tagged)

    def test_an_access_control_list_needs_its_permission(self, cloud: Cloud, actor: Actor) -> None:
        writer = cloud.client("s3", actor([allow("s3:PutObject", self.OBJECTS)]))
        code, message = code_of(
            lambda: writer.put_object(Bucket=self.BUCKET, Key="acl", ACL="bucket-owner-full-control")
        )
        assert code == "AccessDenied"
        assert "s3:PutObjectAcl" in message

    def test_who_may_not_list_is_not_told_what_is_missing(self, cloud: Cloud, actor: Actor) -> None:
        missing = {"Bucket": self.BUCKET, "Key": "missing"}
        read, bucket = allow("s3:GetObject", self.OBJECTS), f"arn:aws:s3:::{self.BUCKET}"
        listing = allow("s3:ListBucket", bucket)
        prefixed = listing | {"Condition": {"StringLike": {"s3:prefix": "*"}}}
        for blind in ([read], [read, prefixed], [read, allow("s3:ListBucket", self.OBJECTS)]):
            s3 = cloud.client("s3", actor(blind))
            assert code_of(lambda: s3.get_object(**missing))[0] == "AccessDenied"  # noqa: B023
            assert code_of(lambda: s3.head_object(**missing))[0] == "403"  # noqa: B023
        s3 = cloud.client("s3", actor([read, listing]))
        assert code_of(lambda: s3.get_object(**missing))[0] == "NoSuchKey"
        assert code_of(lambda: s3.head_object(**missing))[0] == "404"

    def test_deleting_a_version_needs_its_permission(
        self, cloud: Cloud, admin: Credentials, actor: Actor
    ) -> None:
        s3 = cloud.client("s3", admin)
        s3.create_bucket(Bucket="object-versions")
        s3.put_bucket_versioning(Bucket="object-versions", VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(Bucket="object-versions", Key="a", Body=b"1")["VersionId"]
        batch = {"Objects": [{"Key": "a", "VersionId": version}]}
        objects = "arn:aws:s3:::object-versions/*"
        half = cloud.client("s3", actor([allow("s3:DeleteObject", objects)]))
        code, message = code_of(lambda: half.delete_objects(Bucket="object-versions", Delete=batch))
        assert code == "AccessDenied"
        assert "s3:DeleteObjectVersion" in message
        whole = cloud.client("s3", actor([allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], objects)]))
        assert whole.delete_objects(Bucket="object-versions", Delete=batch)["Deleted"]

    def test_what_cannot_be_stored_is_an_error(self, cloud: Cloud, admin: Credentials) -> None:
        """A file stands where the bucket's folder belongs, as an error of the disk would."""
        s3 = cloud.client("s3", admin)
        s3.create_bucket(Bucket="cannot-be-stored")
        s3.put_object(Bucket="cannot-be-stored", Key="a", Body=b"old")
        folder = cloud.folder.ministack / "s3" / cloud.account / "cannot-be-stored"
        (folder / "a.tmp").mkdir()
        try:
            code, _message = code_of(lambda: s3.put_object(Bucket="cannot-be-stored", Key="a", Body=b"new"))
        finally:
            (folder / "a.tmp").rmdir()
        assert code == "InternalError"
        assert s3.get_object(Bucket="cannot-be-stored", Key="a")["Body"].read() == b"old"


def test_encrypted_table_needs_decrypt(cloud: Cloud, admin: Credentials, actor: Actor, key: str) -> None:
    cloud.client("dynamodb", admin).create_table(
        TableName="encrypted",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    item = {"id": {"S": "1"}}
    without = cloud.client("dynamodb", actor([allow("dynamodb:*")]))
    code, message = code_of(lambda: without.put_item(TableName="encrypted", Item=item))
    assert code == "AccessDeniedException"
    assert "KMS key access denied" in message
    batch = {"encrypted": [{"PutRequest": {"Item": item}}]}
    assert code_of(lambda: without.batch_write_item(RequestItems=batch))[0] == "AccessDeniedException"
    with_key = cloud.client("dynamodb", actor([allow("dynamodb:*"), allow("kms:Decrypt", key)]))
    with_key.put_item(TableName="encrypted", Item=item)
    assert with_key.get_item(TableName="encrypted", Key=item)["Item"] == item


class TestPassRole:
    def test_create_function(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("lambda.amazonaws.com", [])
        client = cloud.client("lambda", actor([allow("lambda:*")]))
        code, message = code_of(lambda: client.create_function(**function("passrole", execution)))
        assert code == "AccessDeniedException"
        assert f"iam:PassRole on resource: {execution}" in message
        grant = allow("iam:PassRole", execution)
        grant["Condition"] = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
        cloud.client("lambda", actor([allow("lambda:*"), grant])).create_function(
            **function("passrole", execution)
        )

    def test_update_function(self, cloud: Cloud, admin: Credentials, actor: Actor, role: Role) -> None:
        execution, other = role("lambda.amazonaws.com", []), role("lambda.amazonaws.com", [])
        cloud.client("lambda", admin).create_function(**function("passrole-update", execution))
        client = cloud.client("lambda", actor([allow("lambda:*")]))
        code, _message = code_of(
            lambda: client.update_function_configuration(FunctionName="passrole-update", Role=other)
        )
        assert code == "AccessDeniedException"
        client.update_function_configuration(FunctionName="passrole-update", Timeout=5)

    def test_role_must_trust_lambda(self, cloud: Cloud, admin: Credentials, role: Role) -> None:
        foreign = role("sagemaker.amazonaws.com", [])
        code, message = code_of(
            lambda: cloud.client("lambda", admin).create_function(**function("untrusted", foreign))
        )
        assert code == "InvalidParameterValueException"
        assert "cannot be assumed by Lambda" in message

    def test_state_machine(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("states.amazonaws.com", [])
        definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
        client = cloud.client("stepfunctions", actor([allow("states:*")]))
        code, _message = code_of(
            lambda: client.create_state_machine(name="m", definition=definition, roleArn=execution)
        )
        assert code == "AccessDeniedException"

    def test_event_target(self, cloud: Cloud, actor: Actor, role: Role) -> None:
        execution = role("events.amazonaws.com", [])
        client = cloud.client("events", actor([allow("events:*")]))
        client.put_rule(Name="passrole", EventPattern='{"source": ["x"]}')
        machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
        target = {"Id": "1", "Arn": machine, "RoleArn": execution}
        code, _message = code_of(lambda: client.put_targets(Rule="passrole", Targets=[target]))
        assert code == "AccessDeniedException"


def test_a_target_with_a_role_needs_one(cloud: Cloud, admin: Credentials, role: Role) -> None:
    """A state machine behind a rule runs only with a role that EventBridge may assume and that starts it."""
    events, states = cloud.client("events", admin), cloud.client("stepfunctions", admin)
    machine = states.create_state_machine(
        name="behind-a-rule",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn=role("states.amazonaws.com", []),
    )["stateMachineArn"]
    start = allow("states:StartExecution", machine)
    events.put_rule(Name="behind", EventPattern='{"source": ["test.behind"]}')
    code, message = code_of(lambda: events.put_targets(Rule="behind", Targets=[{"Id": "1", "Arn": machine}]))
    assert code == "ValidationException"
    assert "RoleArn is required" in message

    def runs(target_role: str) -> int:
        events.put_targets(Rule="behind", Targets=[{"Id": "1", "Arn": machine, "RoleArn": target_role}])
        events.put_events(Entries=[{"Source": "test.behind", "DetailType": "t", "Detail": "{}"}])
        time.sleep(1)
        return len(states.list_executions(stateMachineArn=machine)["executions"])

    assert runs(role("events.amazonaws.com", [])) == 0
    assert runs(role("lambda.amazonaws.com", [start])) == 0
    assert runs(role("events.amazonaws.com", [start])) == 1


@pytest.mark.parametrize("kind", ["lambda", "dynamodb", "sqs", "events"])
def test_a_state_machine_acts_with_its_role(cloud: Cloud, admin: Credentials, role: Role, kind: str) -> None:
    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:of-a-task"
    tasks: dict[str, tuple[str, dict[str, Any], str, str]] = {
        "lambda": ("lambda:invoke", {"FunctionName": function_arn}, "lambda:InvokeFunction", function_arn),
        "dynamodb": (
            "dynamodb:putItem", {"TableName": "of-a-task", "Item": {"id": {"S": "1"}}}, "dynamodb:PutItem",
            "arn:aws:dynamodb:us-east-1:000000000000:table/of-a-task",
        ),
        "sqs": (
            "sqs:sendMessage", {"MessageBody": "m"}, "sqs:SendMessage",
            "arn:aws:sqs:us-east-1:000000000000:of-a-task",
        ),
        "events": (
            "events:putEvents", {"Entries": [{"Source": "s", "DetailType": "t", "Detail": "{}"}]},
            "events:PutEvents", "arn:aws:events:us-east-1:000000000000:event-bus/default",
        ),
    }  # fmt: skip
    resource, arguments, action, needed = tasks[kind]
    if kind == "lambda":
        cloud.client("lambda", admin).create_function(
            **function("of-a-task", role("lambda.amazonaws.com", []))
        )
    if kind == "dynamodb":
        cloud.client("dynamodb", admin).create_table(
            TableName="of-a-task",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    if kind == "sqs":
        url = cloud.client("sqs", admin).create_queue(QueueName="of-a-task")["QueueUrl"]
        arguments = {**arguments, "QueueUrl": url}
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": arguments, "End": True}
    states = cloud.client("stepfunctions", admin)

    def outcome(execution_role: str) -> dict[str, Any]:
        machine = states.create_state_machine(
            name=f"task-{execution_role.rpartition('/')[2]}",
            definition=json.dumps({"StartAt": "A", "States": {"A": task}}),
            roleArn=execution_role,
        )["stateMachineArn"]
        started = states.start_execution(stateMachineArn=machine)["executionArn"]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found: dict[str, Any] = states.describe_execution(executionArn=started)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.1)
        raise AssertionError("the execution does not end")

    refused = outcome(role("states.amazonaws.com", []))
    assert refused["status"] == "FAILED"
    assert f"{action} on resource: {needed}" in refused["cause"]
    assert outcome(role("states.amazonaws.com", [allow(action, needed)]))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("kind", ["sqs", "dynamodb", "s3", "lambda", "transaction"])
def test_a_state_machine_acts_with_its_role_through_the_sdk(
    cloud: Cloud, admin: Credentials, role: Role, kind: str
) -> None:
    key = {"id": {"S": "1"}}
    table = "arn:aws:dynamodb:us-east-1:000000000000:table/through-sdk"
    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:through-sdk"
    calls: dict[str, tuple[str, dict[str, Any], str, str]] = {
        "sqs": ("sqs:createQueue", {"QueueName": "through-sdk"}, "sqs:CreateQueue",
                "arn:aws:sqs:us-east-1:000000000000:through-sdk"),
        "dynamodb": ("dynamodb:getItem", {"TableName": "through-sdk", "Key": key}, "dynamodb:GetItem", table),
        "s3": ("s3:headBucket", {"Bucket": "through-sdk"}, "s3:ListBucket", "arn:aws:s3:::through-sdk"),
        "lambda": ("lambda:getFunction", {"FunctionName": "through-sdk"}, "lambda:GetFunction", function_arn),
        "transaction": (
            "dynamodb:transactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "through-sdk", "Item": key}}]},
            "dynamodb:PutItem",
            table,
        ),
    }  # fmt: skip
    resource, arguments, action, needed = calls[kind]
    if kind in ("dynamodb", "transaction"):
        with suppress(ClientError):
            cloud.client("dynamodb", admin).create_table(
                TableName="through-sdk",
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
    if kind == "s3":
        cloud.client("s3", admin).create_bucket(Bucket="through-sdk")
    if kind == "lambda":
        cloud.client("lambda", admin).create_function(
            **function("through-sdk", role("lambda.amazonaws.com", []))
        )
    task = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:{resource}",
        "Parameters": arguments,
        "End": True,
    }
    states = cloud.client("stepfunctions", admin)

    def outcome(execution_role: str) -> dict[str, Any]:
        machine = states.create_state_machine(
            name=f"sdk-{execution_role.rpartition('/')[2]}",
            definition=json.dumps({"StartAt": "A", "States": {"A": task}}),
            roleArn=execution_role,
        )["stateMachineArn"]
        started = states.start_execution(stateMachineArn=machine)["executionArn"]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found: dict[str, Any] = states.describe_execution(executionArn=started)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.1)
        raise AssertionError("the execution does not end")

    for statements in ([], [allow(action, needed + "-else")]):
        refused = outcome(role("states.amazonaws.com", statements))
        assert refused["status"] == "FAILED"
        assert f"{action} on resource: {needed}" in refused["cause"]
        assert refused["error"].endswith("Exception")
    allowed = outcome(role("states.amazonaws.com", [allow(action, needed)]))
    assert allowed["status"] == "SUCCEEDED", allowed


@pytest.mark.parametrize("service", ["sagemaker", "application-autoscaling"])
def test_our_services_have_one_region(cloud: Cloud, admin: Credentials, service: str) -> None:
    elsewhere = replace(cloud, region="eu-west-1").client(service, admin)
    call = {"sagemaker": "list_models", "application-autoscaling": "describe_scalable_targets"}[service]
    arguments = {"ServiceNamespace": "sagemaker"} if service == "application-autoscaling" else {}
    code, message = code_of(lambda: getattr(elsewhere, call)(**arguments))
    assert code == "InvalidSignatureException"
    assert "valid region, not 'eu-west-1'" in message


def test_event_rule_needs_the_functions_permission(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, events, s3 = (cloud.client(name, admin) for name in ("lambda", "events", "s3"))
    s3.create_bucket(Bucket="event-proof")
    execution = role("lambda.amazonaws.com", [allow("s3:PutObject", "arn:aws:s3:::event-proof/*")])
    code = (
        "import boto3\ndef handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket='event-proof', Key=event['detail']['key'], Body=b'')\n"
    )
    spec = {**function("event-proof", execution), "Code": {"ZipFile": archive(code)}}
    function_arn = lambdas.create_function(**spec)["FunctionArn"]
    rule = events.put_rule(Name="event-proof", EventPattern='{"source": ["test.proof"]}')["RuleArn"]
    events.put_targets(Rule="event-proof", Targets=[{"Id": "1", "Arn": function_arn}])

    def send(key: str) -> None:
        entry = {"Source": "test.proof", "DetailType": "t", "Detail": json.dumps({"key": key})}
        events.put_events(Entries=[entry])

    def keys() -> list[str]:
        found = s3.list_objects_v2(Bucket="event-proof").get("Contents", [])
        return [item["Key"] for item in found]

    send("before")
    lambdas.add_permission(
        FunctionName="event-proof",
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    send("after")
    deadline = time.monotonic() + 20
    while "after" not in keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert keys() == ["after"]


def test_a_failed_event_is_tried_again(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, events, s3 = (cloud.client(name, admin) for name in ("lambda", "events", "s3"))
    s3.create_bucket(Bucket="event-retries")
    execution = role("lambda.amazonaws.com", [allow("s3:PutObject", "arn:aws:s3:::event-retries/*")])
    code = (
        "import boto3, uuid\ndef handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket='event-retries', Key=uuid.uuid4().hex, Body=b'')\n"
        "    raise ValueError('no')\n"
    )
    spec = {**function("event-retries", execution), "Code": {"ZipFile": archive(code)}}
    function_arn = lambdas.create_function(**spec)["FunctionArn"]
    lambdas.add_permission(
        FunctionName="event-retries",
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
    )
    events.put_rule(Name="event-retries", EventPattern='{"source": ["test.retries"]}')
    events.put_targets(Rule="event-retries", Targets=[{"Id": "1", "Arn": function_arn}])
    events.put_events(Entries=[{"Source": "test.retries", "DetailType": "t", "Detail": "{}"}])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and s3.list_objects_v2(Bucket="event-retries")["KeyCount"] < 3:
        time.sleep(0.2)
    assert s3.list_objects_v2(Bucket="event-retries")["KeyCount"] == 3


def test_logs_need_the_roles_permission(cloud: Cloud, admin: Credentials, role: Role) -> None:
    lambdas, logs = cloud.client("lambda", admin), cloud.client("logs", admin)
    write = allow(
        ["logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:*:*:log-group:/aws/lambda/t*:*"
    )
    create = allow("logs:CreateLogGroup")
    lambdas.create_function(**function("mute", role("lambda.amazonaws.com", [])))
    lambdas.create_function(**function("talks", role("lambda.amazonaws.com", [write, create])))
    lambdas.create_function(**function("tells", role("lambda.amazonaws.com", [write])))
    logs.create_log_group(logGroupName="/aws/lambda/tells")
    for name in ("mute", "talks", "tells"):
        lambdas.invoke(FunctionName=name)
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    names = {group["logGroupName"] for group in groups}
    assert "/aws/lambda/talks" in names
    assert "/aws/lambda/mute" not in names
    assert logs.describe_log_streams(logGroupName="/aws/lambda/tells")["logStreams"]


def test_a_log_stream_keeps_its_newest_events(cloud: Cloud, admin: Credentials) -> None:
    logs = cloud.client("logs", admin)
    logs.create_log_group(logGroupName="/bounded")
    logs.create_log_stream(logGroupName="/bounded", logStreamName="s")
    now = int(time.time() * 1000)
    for number in range(20):
        messages = [f"{number}.{part} ".ljust(250_000, "x") for part in range(4)]
        logs.put_log_events(
            logGroupName="/bounded",
            logStreamName="s",
            logEvents=[{"timestamp": now, "message": message} for message in messages],
        )
    stream = logs.describe_log_streams(logGroupName="/bounded")["logStreams"][0]
    assert stream["storedBytes"] < 17e6
    first = logs.get_log_events(logGroupName="/bounded", logStreamName="s", startFromHead=True, limit=2)
    assert "left out" in first["events"][0]["message"]
    last = logs.get_log_events(logGroupName="/bounded", logStreamName="s", startFromHead=False, limit=1)
    assert last["events"][0]["message"].startswith("19.3 ")


def test_event_source_needs_the_roles_permission(
    cloud: Cloud, admin: Credentials, role: Role, deploy: Any
) -> None:
    lambdas, sqs = cloud.client("lambda", admin), cloud.client("sqs", admin)
    url = sqs.create_queue(QueueName="source")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    lambdas.create_function(**function("blind", role("lambda.amazonaws.com", [])))
    code, message = code_of(
        lambda: lambdas.create_event_source_mapping(FunctionName="blind", EventSourceArn=queue)
    )
    assert code == "InvalidParameterValueException"
    assert "ReceiveMessage" in message
    reads = allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], queue)
    lambdas.create_function(**function("reads", role("lambda.amazonaws.com", [reads])))
    lambdas.create_event_source_mapping(FunctionName="reads", EventSourceArn=queue)
    mapping = {"Type": "AWS::Lambda::EventSourceMapping"}
    good = {"Mapping": {**mapping, "Properties": {"FunctionName": "reads", "EventSourceArn": queue}}}
    deploy("mapping-of-a-reader", good)
    bad = {"Mapping": {**mapping, "Properties": {"FunctionName": "blind", "EventSourceArn": queue}}}
    with pytest.raises(WaiterError):
        deploy("mapping-of-a-blind-one", bad)


@pytest.mark.parametrize("kind", ["dead-letters", "destination"])
def test_where_failed_events_go(cloud: Cloud, admin: Credentials, role: Role, kind: str) -> None:
    lambdas, sqs = cloud.client("lambda", admin), cloud.client("sqs", admin)
    name = f"fails-{kind}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    code = "def handler(event, context):\n    raise ValueError('no such thing')\n"
    spec = function(name, role("lambda.amazonaws.com", [allow("sqs:SendMessage", queue)]))
    spec["Code"] = {"ZipFile": archive(code)}
    options: dict[str, Any] = {"FunctionName": name, "MaximumRetryAttempts": 0}
    if kind == "dead-letters":
        spec["DeadLetterConfig"] = {"TargetArn": queue}
    else:
        options["DestinationConfig"] = {"OnFailure": {"Destination": queue}}
    lambdas.create_function(**spec)
    lambdas.put_function_event_invoke_config(**options)
    lambdas.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
    deadline = time.monotonic() + 20
    messages: list[dict[str, Any]] = []
    while not messages and time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"])
        messages = answer.get("Messages", [])
    body = json.loads(messages[0]["Body"])
    if kind == "dead-letters":
        assert body == {"a": 1}
        assert messages[0]["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no such thing"
    else:
        assert body["requestPayload"] == {"a": 1}
        assert body["requestContext"]["condition"] == "RetriesExhausted"


def test_dead_letter_queue_of_a_template(cloud: Cloud, admin: Credentials, role: Role, deploy: Any) -> None:
    def resources(execution: str) -> dict[str, Any]:
        properties = {
            "Role": execution,
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
            "DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}},
        }
        return {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": properties},
        }

    sends = role("lambda.amazonaws.com", [allow("sqs:SendMessage")])
    name = deploy("dead-letters", resources(sends), {"Name": {"Ref": "Function"}})["Name"]
    config = cloud.client("lambda", admin).get_function_configuration(FunctionName=name)
    assert config["DeadLetterConfig"]["TargetArn"].startswith("arn:aws:sqs:")
    with pytest.raises(WaiterError):
        deploy("no-dead-letters", resources(role("lambda.amazonaws.com", [])))


@pytest.mark.parametrize("kind", ["Table", "GlobalTable"])
def test_table_of_a_template(cloud: Cloud, admin: Credentials, key: str, deploy: Any, kind: str) -> None:
    dynamodb, cloudformation = cloud.client("dynamodb", admin), cloud.client("cloudformation", admin)

    def resources(*, protected: bool) -> dict[str, Any]:
        regional: dict[str, Any] = {
            "DeletionProtectionEnabled": protected,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        }
        properties: dict[str, Any] = {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "TimeToLiveSpecification": {"AttributeName": "until", "Enabled": "true"},
        }
        if kind == "Table":
            encryption = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
            properties |= {**regional, "SSESpecification": encryption}
        else:
            replica = {"Region": cloud.region, "SSESpecification": {"KMSMasterKeyId": key}, **regional}
            properties |= {"Replicas": [replica], "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"}}
        return {"Table": {"Type": f"AWS::DynamoDB::{kind}", "Properties": properties}}

    stack = f"of-a-template-{kind}"
    name = deploy(stack, resources(protected=True), {"Name": {"Ref": "Table"}})["Name"]
    table = dynamodb.describe_table(TableName=name)["Table"]
    assert table["SSEDescription"]["KMSMasterKeyArn"] == key
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    lifetime = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert lifetime == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    cloudformation.delete_stack(StackName=stack)
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert name in dynamodb.list_tables()["TableNames"]


def test_function_of_a_template(cloud: Cloud, admin: Credentials, role: Role, deploy: Any) -> None:
    def resources(reserved: int | None) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "FunctionName": "of-a-template",
            "Role": execution,
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
        }
        if reserved is not None:
            properties["ReservedConcurrentExecutions"] = reserved
        return {"Function": {"Type": "AWS::Lambda::Function", "Properties": properties}}

    execution = role("lambda.amazonaws.com", [])
    client = cloud.client("lambda", admin)
    for reserved in (5, 7, None):
        deploy("function-of-a-template", resources(reserved))
        answer = client.get_function_concurrency(FunctionName="of-a-template")
        assert answer.get("ReservedConcurrentExecutions") == reserved


def test_bucket_of_a_template(cloud: Cloud, admin: Credentials, key: str, deploy: Any) -> None:
    s3, cloudformation = cloud.client("s3", admin), cloud.client("cloudformation", admin)
    properties: dict[str, Any] = {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": "true",
                    "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
                }
            ]
        },
        "Tags": [{"Key": "team", "Value": "ml"}],
        "VersioningConfiguration": {"Status": "Enabled"},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {
            "Rules": [
                {
                    "Id": "tidy",
                    "Status": "Enabled",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": "30"},
                },
                {"Status": "Enabled", "Prefix": "tmp/", "ExpirationInDays": 1},
            ]
        },
    }
    resources = {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}
    name = deploy("bucket-of-a-template", resources, {"Name": {"Ref": "Bucket"}})["Name"]
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    assert rule["BucketKeyEnabled"] is True
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    assert tags["team"] == "ml"
    assert tags["aws:cloudformation:stack-name"] == "bucket-of-a-template"
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert [rule.get("Expiration", {}).get("Days") for rule in rules] == [None, 1]
    assert rules[0]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    del properties["LifecycleConfiguration"]
    deploy("bucket-of-a-template", resources, {"Name": {"Ref": "Bucket"}})
    assert code_of(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name))[0] == (
        "NoSuchLifecycleConfiguration"
    )
    s3.put_object(Bucket=name, Key="left", Body=b"1")
    cloudformation.delete_stack(StackName="bucket-of-a-template")
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName="bucket-of-a-template", WaiterConfig={"Delay": 1}
        )
    stack = cloudformation.describe_stacks(StackName="bucket-of-a-template")["Stacks"][0]
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert s3.get_object(Bucket=name, Key="left")["Body"].read() == b"1"


def test_function_url_leads_here(cloud: Cloud, admin: Credentials, actor: Actor, role: Role) -> None:
    client = cloud.client("lambda", admin)
    function_arn = client.create_function(**function("has-url", role("lambda.amazonaws.com", [])))[
        "FunctionArn"
    ]
    url = client.create_function_url_config(FunctionName="has-url", AuthType="AWS_IAM")["FunctionUrl"]
    assert url.startswith(f"{cloud.endpoint_url}/_aws/lambda-url/")
    grant = {
        **allow("lambda:InvokeFunctionUrl", function_arn),
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
    }
    via = {**allow("lambda:InvokeFunction", function_arn)}
    via["Condition"] = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    both = [grant, via]
    assert call_url(cloud, url, actor([grant]))[0] == 403
    assert call_url(cloud, url, actor(both)) == (200, '{"ok": true}')
    for service in ("sts", "execute-api", "s3"):
        status, body = call_url(cloud, url, actor(both), service)
        assert status == 403
        assert "scoped to correct service: 'lambda'" in body
    assert call_url(cloud, url, actor([]))[0] == 403
    assert call_url(cloud, url, None)[0] == 403


def call_url(
    cloud: Cloud, url: str, credentials: Credentials | None, service: str = "lambda"
) -> tuple[int, str]:
    import ssl
    import urllib.error
    import urllib.request

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Signing

    request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=b"{}")
    if credentials is not None:
        signing = Signing(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        SigV4Auth(signing, service, cloud.region).add_auth(request)
    sent = urllib.request.Request(url, data=b"{}", headers=dict(request.headers), method="POST")
    context = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    try:
        with urllib.request.urlopen(sent, context=context, timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_function_credentials_cannot_be_computed(cloud: Cloud, admin: Credentials, role: Role) -> None:
    execution = role("lambda.amazonaws.com", [allow("s3:ListAllMyBuckets")])
    arn = cloud.client("lambda", admin).create_function(**function("secretive", execution))["FunctionArn"]
    cloud.client("lambda", admin).invoke(FunctionName="secretive")
    # MiniStack's own derivation.
    digest = hashlib.sha256(f"{arn}:{execution}".encode()).hexdigest()
    guessed = Credentials(
        access_key_id=f"ASIA{digest[:16].upper()}",
        secret_access_key=hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        session_token=hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    )
    assert code_of(cloud.client("s3", guessed).list_buckets)[0] == "InvalidAccessKeyId"


# Digests of the sources of what the differences wrap. A change means: read what MiniStack does now, decide
# whether the difference still exists, and only then write the new digest down.
_SOURCES = {
    "services.cloudformation.stacks._validation_errors": "4B22RYUXS5KJRD3O",
    "app.call_service_handler_sync": "MTQNPZRVABMBNLGJ",
    "services.stepfunctions._invoke_aws_sdk_integration": "LGUXBYNHYBWL5R3N",
    "services.lambda_svc.handle_request": "6ISVX7TPSCVQUDCP",
    "services.sts.handle_request": "6LL4OLIB2ZEVAKIB",
    "services.iam._create_role": "7325766NGG6Q3SE2",
    "services.iam._put_role_policy": "GARWOM5NG554NIDI",
    "services.cloudformation.provisioners._iam_managed_policy_create": "6DXHTRNDK4QG2RCU",
    "services.cloudformation.provisioners._iam_policy_create": "42TQ6K4WDOXPQK4M",
    "services.cloudformation.provisioners._iam_role_create": "FV7D3DWFA7KEQAWK",
    "services.cloudformation.engine._validate_template_statics": "IB6IEJLRX62OLGCJ",
    "services.cloudformation.engine._evaluate_conditions": "4746FG3MAGSKPLU4",
    "services.eventbridge._events_log_list": "JY2LKGMDKQFZ6MFK",
    "services.cloudwatch._metric_bucket": "XZRML4KURXAA4ZDT",
    "services.cloudwatch_logs._put_log_events": "VTKP3IZ2HBL5OPHW",
    "services.cloudwatch_logs._collect_query_records": "WFKPPXIRBETZMQJ5",
    "services.cloudwatch_logs._start_query": "IFIUISP2S4R5HRKQ",
    "core.iam_evaluator._conditions_met": "CW2MESQD4P7ROPFZ",
    "core.iam_evaluator._first_match": "3SLO6SCGY5BBE27R",
    "core.iam_evaluator.fnmatch_iam_cs": "ON3D5EX4VLJJ4VJX",
    "core.iam_actions.s3_additional_checks": "E3S6KYBNOQYUBEOP",
    "services.cloudwatch_logs._append_log_events": "4R6K46QVUTGEM2FV",
    "services.eventbridge._validate_target_arn": "CA4DJ7K4HP6HVPXQ",
    "services.s3._complete_multipart_upload": "TYWWIUW74EUKBQWE",
    "services.s3._head_object": "G2ODVBEC5LNTM5IZ",
    "services.s3._persist_object": "ZMZLNLUHA27PQAY7",
    "services.s3._upload_part_copy": "REEVBW3J6ICTSYA3",
    "services.stepfunctions._execute_task": "KPEBRUSH3OTCYSNY",
    "services.stepfunctions._invoke_resource": "VBOSX2NILBGOB6DG",
    "core.iam_evaluator.enforce": "Z5SLD3S3BGOI64C6",
    "core.iam_evaluator.is_root_access_key": "42XDWYZTKWJ4BV7R",
    "core.iam_evaluator.evaluate_resource_policy": "4SOOOFQ22Y7DKZZK",
    "core.lambda_runtime.execution_credentials": "Z75K3RHTS33OISRE",
    "services.dynamodb.handle_request": "CIA7FLEZHTQ2A4ZZ",
    "services.ecr._describe_images": "Q3D7PMTTVMRRMG25",
    "services.eventbridge._invoke_target": "KUHDASXQQCKWG7WU",
    "services.eventbridge._put_targets": "TUJJ7A6BRG2MSXOI",
    "services.eventbridge._dispatch_to_lambda": "D6K23OXNHKLGUW2X",
    "services.lambda_svc._create_esm": "2NIVEG5WZXJQ6ASO",
    "services.lambda_svc._emit_lambda_logs": "CEPPX4DJNC5SA5BH",
    "services.lambda_svc.invoke_async_with_retry": "FCP6JU6L2QEJWS5M",
    "services.cloudformation.provisioners._lambda_esm_create": "6BJ2J2GDBRKUHIKX",
    "services.lambda_svc._create_function": "4MD65TPQ3C2RZEVX",
    "services.lambda_svc._create_function_url_config": "5AQRI7C33AQIBOZN",
    "services.lambda_svc._update_config": "NGM4WBUV3LHABGPG",
    "services.s3._copy_object": "ZZD6OMUYX34KRFMX",
    "services.s3._create_multipart_upload": "H2GKFCHUQAMUNGMB",
    "services.s3._get_object": "MSWXA4PPB3CFVW4M",
    "services.s3._put_object": "Z5MGDZGZTGJEGAK2",
    "services.s3._resolve_sse_write_headers": "FL766WT5G6QFKZ3X",
    "services.stepfunctions._create_state_machine": "JPASGHO2NES5EHQR",
    "services.lambda_svc._route_async_failure": "YARTGHRTH54W37L5",
    "services.cloudformation.provisioners._ddb_create": "E52YNYAWY2J32JGE",
    "services.cloudformation.provisioners._ddb_global_table_create": "ZVY3IABE7UVRVFN3",
    "services.cloudformation.provisioners._lambda_create": "RMWPQDUWDWJO4HYX",
    "services.cloudformation.provisioners._s3_create": "I55XRI6LCUG73DGM",
    "services.cloudformation.provisioners._s3_delete": "KK6K6WN5LO6DSM2T",
    "services.cloudformation.stacks._runs_on_worker_thread": "EOKVKEIUD6CICCF3",
}


@pytest.mark.parametrize("name", _SOURCES)
def test_ministack_is_as_it_was_when_the_differences_were_found(name: str) -> None:
    import importlib

    module, _, attribute = name.rpartition(".")
    source = inspect.getsource(getattr(importlib.import_module(f"ministack.{module}"), attribute))
    digest = base64.b32encode(hashlib.sha256(source.encode()).digest()).decode()[:16]
    assert digest == _SOURCES[name], f"{name} changed; its digest is now {digest}"
