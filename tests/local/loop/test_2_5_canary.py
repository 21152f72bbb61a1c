"""A canary that breaks costs no request and is rolled back; each permission of the deployer for it is needed.

It began two chapters before, so that the minute has passed in which its requests do not count.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.local.loop.canaries import ask, canary_of, first_whole_minute, invocations, models, pause_until
from tests.local.loop.enforcement import DEPLOYER, reconcile, refused, was_refused
from tests.local.loop.grants import without
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

REQUESTS = 60


def test_it_is_rolled_back_once_the_deployer_may(story: Story) -> None:
    canary = canary_of(story)
    pause_until(first_whole_minute(canary))
    # Its schedule makes the deployer look as well: it must not be able to end the canary before all is tried.
    with without(story.administrator, story.names.role(DEPLOYER), "sagemaker:UpdateModelPackage"):
        with refused(story, DEPLOYER, "cloudwatch:GetMetricData"):
            # Every one is answered, by the version before.
            assert ask(story, REQUESTS) == {1: REQUESTS}
            answer = reconcile(story)
        assert "not authorized to perform: cloudwatch:GetMetricData" in answer["payload"]
        since = time.time()
        answer = reconcile(story)
        assert "cannot conclude the canary" in answer["payload"]
        assert "not authorized to perform: sagemaker:UpdateModelPackage" in answer["payload"]
        assert canary_of(story)["version"] == canary["version"]
        assert models(story)["error"]["version"] == canary["version"]
        was_refused(story, since, DEPLOYER, "sagemaker:UpdateModelPackage")

    assert json.loads(reconcile(story)["payload"]) == {"serving": {MODEL: 1}}


def test_registry_and_record_say_why(story: Story) -> None:
    row = models(story)
    verdict = row["verdict"]
    assert (row["canary"], row["error"], verdict["outcome"]) == (None, None, "rolled-back")
    arn = next(known["arn"] for known in row["versions"] if known["version"] == verdict["version"])
    package = story.aws(story.approver, "sagemaker", "describe-model-package", "--model-package-name", arn)
    assert package["ModelApprovalStatus"] == "Rejected"
    # Rows that the version before takes are the canary's own failures.
    failed = invocations(story, verdict["version"], "Errors")
    assert failed == invocations(story, verdict["version"]) > REQUESTS / 4
    assert verdict["reason"] in package["ApprovalDescription"]
    assert "requests failed - before 0 of" in package["ApprovalDescription"]
    metadata = package["CustomerMetadataProperties"]
    assert (metadata["canary-percent"], metadata["canary-verdict"]) == ("50", "rolled-back")


def test_its_archive_goes_once_the_deployer_may_delete(story: Story) -> None:
    version = models(story)["verdict"]["version"]
    bucket, s3 = story.outputs["DataBucketName"], story.administrator.client("s3")
    prefix = f"models/multi/{MODEL}/{version}-"
    (unused,) = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    artifact = unused["Key"].removeprefix("models/multi/")
    with refused(story, DEPLOYER, "s3:DeleteObject"):
        # As if two days had passed since the deployer saw that nobody needs it.
        story.administrator.client("dynamodb").update_item(
            TableName=story.outputs["RecordTableName"],
            Key={"group": {"S": MODEL}},
            # A reconcile that read the record before writes no other over it.
            UpdateExpression="SET #unused.#artifact = :then, generation = generation + :one",
            ExpressionAttributeNames={"#unused": "unused", "#artifact": artifact},
            ExpressionAttributeValues={
                ":then": {"S": (datetime.now(UTC) - timedelta(days=2)).isoformat()},
                ":one": {"N": "1"},
            },
        )
        answer = reconcile(story)
        assert s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 1
    assert f"cannot delete s3://{bucket}/{unused['Key']}" in answer["payload"]

    assert json.loads(reconcile(story)["payload"]) == {"serving": {MODEL: 1}}
    assert s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 0
