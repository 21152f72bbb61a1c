"""S3, DynamoDB and SageMaker that fail for a while: what is loaded and known serves on, the rest recovers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.config import Config

from benchmarks.deployed import MODEL
from benchmarks.traffic import percentile
from modelyard_cli import registry
from tests.local.faults.app import App

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

S3: dict[str, Any] = {"service": "s3", "status": 503, "code": "SlowDown"}
TABLE: dict[str, Any] = {"service": "dynamodb", "status": 500, "code": "InternalServerError"}
ENDPOINT: dict[str, Any] = {"service": "sagemaker", "path": "/endpoints/"}
# So long each process of the function remembers which version serves.
REMEMBERED_S = 10.0
OUTAGE_S = REMEMBERED_S + 5


def test_without_s3_what_is_loaded_serves_and_an_approval_waits(app: App) -> None:
    before, version = app.version(), app.new_version()
    time.sleep(REMEMBERED_S)
    with app.fault(S3), app.traffic() as traffic:
        app.decide(version, "Approved")
        app.wait(lambda: app.record().get("error", {}).get("version") == version)
        error = app.record()["error"]
        time.sleep(1)
        served = app.version()
    assert traffic.failed == []
    assert traffic.versions.keys() == {before}
    assert served == before
    assert "cannot read s3://" in error["message"]

    # The deployer looks again by itself, within five minutes.
    assert app.reconcile() == {"serving": {MODEL: version}}
    assert "error" not in app.record()


def test_without_s3_a_model_that_has_to_be_loaded_is_refused_until_s3_is_back(app: App) -> None:
    with app.fault(S3):
        app.kill_server()
        app.wait(lambda: bool(app.servers()))
        with app.traffic() as traffic:
            time.sleep(6)
    assert traffic.failed
    assert {answer.status for answer in traffic.failed} == {503}
    assert {answer.code for answer in traffic.failed} <= {"not_ready", "endpoint_unavailable"}
    assert traffic.slowest() < 110

    # Nobody has to do anything.
    app.wait(app.answers)
    with app.traffic() as traffic:
        time.sleep(2)
    assert traffic.failed == []


def test_without_the_table_the_function_serves_what_it_knows(app: App) -> None:
    app.warm()
    # Each asks when it was answered: who has to wait for the table makes no other request late.
    with app.traffic(per_second=None) as traffic:
        app.wait(lambda: len(traffic.answers) >= 30)
        calm = percentile(list(traffic.answers), 0.5)
        with app.fault(TABLE):
            time.sleep(OUTAGE_S)
            assert "errorMessage" in app.reconcile()
        time.sleep(2)
    assert traffic.failed == []
    # Who asks the table waits for its refusals, one request of a function's process in ten seconds.
    assert percentile(traffic.answers, 0.5) < calm + 2
    assert traffic.slowest() < 30
    assert "errorMessage" not in app.reconcile()


def test_without_the_table_a_new_function_says_try_again(app: App) -> None:
    with app.fault(TABLE):
        app.kill_workers("inference/InferenceFunction")
        answer = app.ask()
        assert (answer.status, answer.code) == (503, "not_ready")
        assert answer.seconds < 30
    assert app.answers()


@pytest.mark.parametrize(
    "fault",
    [
        {"service": "dynamodb", "status": 400, "code": "ThrottlingException", "share": 0.5},
        {**ENDPOINT, "status": 400, "code": "ThrottlingException", "share": 0.3},
        {**ENDPOINT, "status": 503, "code": "ServiceUnavailable", "share": 0.3},
    ],
    ids=["table", "endpoint", "endpoint-unavailable"],
)
def test_throttling_costs_time_and_no_request(app: App, fault: dict[str, Any]) -> None:
    app.warm()
    struck = app.struck()
    with app.traffic() as traffic:
        with app.fault(fault):
            time.sleep(5)
            # The table is asked once in ten seconds, and half of that goes well.
            app.wait(lambda: app.struck() > struck)
        time.sleep(2)
    assert traffic.failed == []
    assert traffic.slowest() < 30


def test_a_throttled_deployer_deploys_all_the_same(app: App) -> None:
    faults = [
        {"service": service, "status": 400, "code": "ThrottlingException", "share": 0.2}
        for service in ("dynamodb", "sagemaker")
    ]
    version = app.new_version()
    # Who approves asks again, too, until it is done.
    person = app.session.client("sagemaker", config=Config(retries={"mode": "standard", "max_attempts": 20}))
    with app.fault(*faults):
        registry.decide(person, MODEL, version, "Approved", None)
        for _ in range(3):
            app.reconcile()
    app.reconcile()
    assert app.version() == version
    assert "error" not in app.record()


def test_without_metrics_a_canary_goes_on_unjudged(app: App) -> None:
    before, version = app.version(), app.new_version()
    time.sleep(REMEMBERED_S)
    with app.traffic() as traffic:
        with app.fault({"service": "monitoring", "status": 503}):
            app.decide(version, "Approved", canary=50)
            # There is something to judge once a whole minute of the canary's has passed.
            app.wait(lambda: "cannot read the metrics" in app.reconcile().get("errorMessage", ""))
            assert (app.version(), app.version("canary")) == (before, version)
            assert app.record()["error"]["version"] == version
            # Some processes of the function may still remember what was before.
            app.wait(lambda: set(traffic.versions) == {before, version})
        # On a machine that does other work, too, it may well be the slower one.
        app.wait(lambda: "errorMessage" not in app.reconcile() and app.version("canary") is None, 400)
    assert traffic.failed == []
    assert app.record()["verdict"]["version"] == version
    assert "error" not in app.record()
