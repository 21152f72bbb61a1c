"""Model servers and instances that die or stand still under load: what callers hear, and that it passes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from benchmarks.traffic import percentile
from tests.local.faults.app import App
from tests.local.support import unscaled

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]


@pytest.fixture
def two_instances(app: App) -> Iterator[App]:
    with unscaled(app.session, app.outputs["EndpointName"]):
        _scale(app, 2)
        yield app
        _scale(app, 1)


def _scale(app: App, instances: int) -> None:
    name, sagemaker = app.outputs["EndpointName"], app.client("sagemaker")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": instances}],
    )
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    app.wait(lambda: len(app.servers()) == instances)


def test_a_killed_model_server_is_started_again(app: App) -> None:
    with app.traffic() as traffic:
        time.sleep(2)
        (before,) = app.servers()
        app.kill_server()
        app.wait(lambda: bool(app.servers()) and app.servers() != [before])
        app.wait(app.answers)
        came_back = time.monotonic()
        app.wait(lambda: sum(answer.at > came_back for answer in traffic.answers) >= 10)
    # With one instance there is nobody else to ask: a typed error, at once, until it is back.
    assert {(answer.status, answer.code) for answer in traffic.failed} <= {(503, "not_ready")}
    assert max((answer.at for answer in traffic.failed), default=0.0) < came_back
    assert traffic.slowest() < 45


def test_with_two_instances_nobody_waits_for_the_one_that_died(two_instances: App) -> None:
    app = two_instances
    # Each asks when it was answered: on a busy machine a timetable would lag behind what happens.
    with app.traffic(per_second=None) as traffic:
        app.wait(lambda: len(traffic.answers) >= 30)
        before = app.servers()
        killed = time.monotonic()
        app.kill_server()
        app.wait(lambda: len(app.servers()) == 2 and app.servers() != before)
        started = time.monotonic()
        time.sleep(1)
    meanwhile = [answer for answer in traffic.answers if killed <= answer.at < started]
    # Until the death is seen, all attempts of a request may meet the one that died: it has the least to do.
    assert {(answer.status, answer.code) for answer in traffic.failed} <= {(503, "not_ready")}
    assert len(traffic.failed) < len(meanwhile) / 2
    assert meanwhile
    # The other one answered.
    assert percentile(meanwhile, 0.5) < started - killed


def test_a_server_that_stands_still_for_a_while_answers_afterwards(app: App) -> None:
    with app.traffic() as traffic:
        time.sleep(1)
        (server,) = app.servers()
        server.suspend()
        time.sleep(5)
        server.resume()
        time.sleep(2)
    assert traffic.failed == []
    assert 4 < traffic.slowest() < 45


def test_a_server_that_hangs_is_given_up_after_sagemakers_minute(app: App) -> None:
    (server,) = app.servers()
    server.suspend()
    try:
        answer = app.ask()
    finally:
        server.resume()
    assert (answer.status, answer.code) == (503, "not_ready")
    assert 60 <= answer.seconds < 110
    app.wait(app.answers)


def test_the_artifact_of_a_loaded_model_is_deleted(app: App) -> None:
    place = app.artifact()
    app.client("s3").delete_object(**place)
    with app.traffic() as traffic:
        time.sleep(2)
        # The next look of the deployer, within five minutes, makes it anew from what training wrote.
        app.reconcile()
    assert traffic.failed == []
    assert app.exists(place)


def test_the_artifact_is_deleted_and_the_model_has_to_be_loaded_again(app: App) -> None:
    place = app.artifact()
    app.client("s3").delete_object(**place)
    app.kill_server()
    # Until the next one listens it is `not_ready`.
    app.wait(lambda: app.ask().code == "endpoint_unavailable")
    with app.traffic() as traffic:
        time.sleep(6)
    assert traffic.answers
    assert {(answer.status, answer.code) for answer in traffic.answers} == {(503, "endpoint_unavailable")}

    assert "errorMessage" not in app.reconcile()
    assert app.exists(place)
    with app.traffic() as traffic:
        time.sleep(2)
    assert traffic.failed == []
