"""A deployer that dies at a write, before it or after it, leaves nothing that the next one does not mend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.deployed import MODEL
from tests.local.faults.app import App

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

HELD_S = 60.0
# Of each write: the request never reaches AWS, or the answer never reaches the deployer.
MOMENTS = ("instead", "after")


def age(app: App, seconds: float) -> None:
    """Make the record as old as that; a look that has read it before writes none over it."""
    moment = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")
    app.client("dynamodb").update_item(
        TableName=app.outputs["RecordTableName"],
        Key={"group": {"S": MODEL}},
        UpdateExpression="SET updated = :then, generation = generation + :one",
        ExpressionAttributeValues={":then": {"S": moment}, ":one": {"N": "1"}},
    )


def die_at(app: App, write: dict[str, Any], moment: str, act: Callable[[], None]) -> int | None:
    """Do something that makes the deployer write, and end its process while it waits for this.

    Returns:
        which version serves by then.
    """
    struck = app.struck()
    with app.fault(write | {"when": moment, "hold_s": HELD_S}):
        act()
        app.wait(lambda: app.struck() > struck)
        app.kill_workers("serving/DeployerFunction")
        return app.version()


@pytest.fixture
def only_asked(app: App) -> Iterator[App]:
    """Nobody else makes the deployer look, nor does an event that has failed."""
    with app.only_asked():
        yield app


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "write",
    [
        {"service": "s3", "operation": "PUT", "path": "/models/multi/"},
        {"service": "dynamodb", "operation": "PutItem"},
    ],
    ids=["artifact", "record"],
)
def test_while_it_deploys(only_asked: App, write: dict[str, Any], moment: str) -> None:
    app = only_asked
    before, version = app.version(), app.new_version()
    app.decide(version, "Approved")
    with app.traffic() as traffic:
        recorded = die_at(app, write, moment, app.look)
        assert recorded == (version if (write["service"], moment) == ("dynamodb", "after") else before)

        assert app.reconcile() == {"serving": {MODEL: version}}
        time.sleep(1)
    assert traffic.failed == []
    # Or one before, which the function remembers for seconds.
    assert all(answered <= version for answered in traffic.versions)
    assert (app.version(), app.version("previous")) == (version, before)
    assert app.exists(app.artifact())


@pytest.mark.parametrize("moment", MOMENTS)
def test_while_it_notes_how_a_canary_ended(app: App, moment: str) -> None:
    before, version = app.version(), app.new_version()
    assert before is not None
    write = {"service": "sagemaker", "operation": "UpdateModelPackage"}
    app.decide(before, "Rejected")
    app.wait(lambda: app.version() != before)
    while (other := app.version()) is not None:
        app.decide(other, "Rejected")
        app.wait(lambda other=other: app.version() != other)

    # Without another version to compare with, a canary ends as soon as it begins. Approved before the fault,
    # which would meet that, too.
    with app.only_asked():
        app.decide(version, "Approved", canary=10)
        die_at(app, write, moment, app.look)
        app.reconcile()
    assert app.version() == version
    assert app.record()["verdict"]["outcome"] == "promoted"


@pytest.mark.parametrize("moment", MOMENTS)
def test_while_it_deletes_what_nobody_needs(app: App, moment: str) -> None:
    served, version = app.version(), app.new_version()
    app.deploy(version)
    assert served is not None
    # A third one, so that the first is not even the previous any more.
    app.deploy(app.new_version())
    bucket, s3 = app.outputs["DataBucketName"], app.client("s3")
    prefix = f"models/multi/{MODEL}/{served}-"
    (found,) = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    artifact = found["Key"].removeprefix("models/multi/")

    def look() -> None:
        app.client("dynamodb").update_item(
            TableName=app.outputs["RecordTableName"],
            Key={"group": {"S": MODEL}},
            # A reconcile that read the record before writes no other over it.
            UpdateExpression="SET #unused.#artifact = :then, generation = generation + :one",
            ExpressionAttributeNames={"#unused": "unused", "#artifact": artifact},
            ExpressionAttributeValues={
                ":then": {"S": (datetime.now(UTC) - timedelta(days=2)).isoformat()},
                ":one": {"N": "1"},
            },
        )
        app.look()

    with app.traffic() as traffic, app.only_asked():
        die_at(app, {"service": "s3", "operation": "DELETE"}, moment, look)
        app.reconcile()
    assert traffic.failed == []
    assert not app.exists({"Bucket": bucket, "Key": prefix})
    assert app.exists(app.artifact())


def test_the_schedule_repairs_what_nobody_tells_it_of(app: App) -> None:
    before, version = app.version(), app.new_version()
    app.deploy(version)
    record, events = app.record(), app.client("events")
    lost = app.artifact() | {"Key": f"models/multi/{record['previous']['artifact']}"}
    approvals = app.physical("serving", "DeployerApproval")
    # Not even an event that this cloud sends and AWS does not.
    events.disable_rule(Name=approvals)
    try:
        with app.traffic() as traffic:
            app.client("sagemaker").delete_model_package(ModelPackageName=record["serving"]["package_arn"])
            app.client("s3").delete_object(**lost)
            # In place of five minutes; the next minute's look then has work.
            age(app, 300)
            app.wait(lambda: app.version() == before, 400)
            assert app.exists(app.artifact())
            app.wait(lambda: app.ask().version == before)
    finally:
        events.enable_rule(Name=approvals)
    assert traffic.failed == []
    assert "error" not in app.record()
