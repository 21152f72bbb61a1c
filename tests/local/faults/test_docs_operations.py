"""The on-call page: its commands are run as they stand, and do what it says."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from benchmarks.deployed import MODEL
from tests.local.faults.app import App
from tests.local.operations_page import Page

pytestmark = [pytest.mark.loop, pytest.mark.timeout(3600)]


def test_every_command_of_the_page(app: App) -> None:
    page = Page(app.environment)
    old, new = app.new_version(), app.new_version()
    app.deploy(old)
    app.deploy(new)
    app.wait(app.answers)

    seen = page("see")
    assert MODEL in seen
    assert "InService" in seen
    assert "Latency" in seen

    request_id = app.refused()
    app.wait(lambda: bool(app.lines("serving", "EndpointLogs", request_id)))
    said = page("one request", before=f"request_id={request_id}")
    assert '\\"event\\": \\"refused\\"' in said
    assert '\\"route\\": \\"invoke\\"' in said

    assert f"version {old} serves" in page("roll back a model")
    assert app.version() == old
    page("roll back the function")
    app.wait(app.answers)

    page("the brake")
    assert app.ask().status == 429
    page("release the brake")
    app.wait(app.answers)

    page("stop deployments")
    app.decide(new, "Approved")
    with pytest.raises(ClientError, match="TooManyRequests"):
        app.reconcile()
    assert app.version() == old
    page("let them go on")
    assert app.version() == new
    page("instances")
    name, sagemaker = app.outputs["EndpointName"], app.client("sagemaker")
    app.wait(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")

    letters = app.physical("serving", "DeployerDeadLetters")
    app.client("sqs").send_message(QueueUrl=letters, MessageBody='{"group": "lost"}')
    assert "lost" in page("dead letters")
    # An event from while deployments were stopped may still come.
    left = app.client("sqs").receive_message(QueueUrl=letters, MaxNumberOfMessages=10).get("Messages", [])
    assert not [letter for letter in left if "lost" in letter["Body"]]

    app.client("s3").delete_object(**(place := app.artifact()))
    page("an artifact is gone")
    assert app.exists(place)
    app.client("dynamodb").delete_item(TableName=app.outputs["RecordTableName"], Key={"group": {"S": MODEL}})
    page("an artifact is gone")
    assert app.version() == new
    page("a key was disabled", before="aws kms disable-key --key-id $key")
    app.wait(app.answers)

    assert page.used == page.blocks.keys()
