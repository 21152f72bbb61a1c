"""What MiniStack alone would allow or say otherwise than AWS: encryption, objects and tables."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localcloud.context import Cloud, Credentials
from tests.local.support import Actor, allow, code_of, unique


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

    @pytest.mark.parametrize(("bucket_key", "bound_to"), [(True, ""), (False, "/a")])
    def test_a_bucket_key_is_bound_to_the_bucket(
        self, cloud: Cloud, admin: Credentials, actor: Actor, key: str, bucket_key: bool, bound_to: str
    ) -> None:
        s3, bucket = cloud.client("s3", admin), unique("bucket-key")
        s3.create_bucket(Bucket=bucket)
        rule = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
            "BucketKeyEnabled": bucket_key,
        }
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})

        def caller(resource: str) -> Any:
            grant = allow(["kms:Decrypt", "kms:GenerateDataKey"], key)
            grant["Condition"] = {"StringEquals": {"kms:EncryptionContext:aws:s3:arn": resource}}
            return cloud.client("s3", actor([allow("s3:*"), grant]))

        right, wrong = (caller(f"arn:aws:s3:::{bucket}{path}") for path in (bound_to, bound_to + "x"))
        right.put_object(Bucket=bucket, Key="a", Body=b"1")
        assert code_of(lambda: wrong.put_object(Bucket=bucket, Key="a", Body=b"1"))[0] == "AccessDenied"
        assert right.get_object(Bucket=bucket, Key="a").get("BucketKeyEnabled", False) is bucket_key
        assert code_of(lambda: wrong.get_object(Bucket=bucket, Key="a"))[0] == "AccessDenied"
        # A write may say otherwise, and the read asks for what the object was written under.
        s3.put_object(Bucket=bucket, Key="a", Body=b"1", BucketKeyEnabled=not bucket_key)
        assert code_of(lambda: right.get_object(Bucket=bucket, Key="a"))[0] == "AccessDenied"

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
    statement = "INSERT INTO encrypted VALUE {'id': '2'}"
    assert code_of(lambda: without.execute_statement(Statement=statement))[0] == "AccessDeniedException"
    with_key = cloud.client("dynamodb", actor([allow("dynamodb:*"), allow("kms:Decrypt", key)]))
    with_key.execute_statement(Statement=statement)
    with_key.put_item(TableName="encrypted", Item=item)
    assert with_key.get_item(TableName="encrypted", Key=item)["Item"] == item


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
