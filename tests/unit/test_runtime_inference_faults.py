"""The table, the endpoint and the model that fail: what is remembered, tried again, and told to callers."""

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.unit.inference_world import SETTINGS, World, client_error, refused


@pytest.fixture
def world():
    return World()


def test_resolution_is_cached_for_as_long_as_stated(world):
    for _ in range(3):
        world.send()
    assert world.table.reads == 1
    world.table.version = 4
    world.now += SETTINGS.cache_seconds - 0.001
    assert world.send()[1]["version"] == 3
    world.now += 0.001
    assert world.send()[1]["version"] == 4
    assert world.table.reads == 2


def test_that_nothing_serves_is_known_for_a_second(world):
    version, world.table.version = world.table.version, None
    for _ in range(3):
        assert refused(world)[:2] == (404, "model_not_deployed")
    assert world.table.reads == 1
    world.table.version = version
    world.now += 1
    assert world.send()[0] == 200


def test_outage_of_the_table_is_outlasted_for_a_bounded_time(world):
    world.send()
    world.table.error = client_error("InternalServerError", 500)
    world.now += SETTINGS.cache_seconds + SETTINGS.stale_seconds - 1
    assert world.send()[0] == 200
    world.now += 1
    status, content, headers = world.send()
    assert (status, content["error"]["code"], headers["retry-after"]) == (503, "not_ready", "5")
    world.table.error = None
    assert world.send()[0] == 200


def test_in_an_outage_of_the_table_only_few_requests_wait_for_its_refusal(world):
    world.send()
    world.table.error = client_error("InternalServerError", 500)
    world.now += SETTINGS.cache_seconds
    for _ in range(10):
        assert world.send()[0] == 200
    assert world.table.reads == 2
    world.now += SETTINGS.cache_seconds
    assert world.send()[0] == 200
    assert world.table.reads == 3


@pytest.mark.parametrize(
    "error",
    [
        client_error("ModelNotReadyException", 429),
        client_error("ThrottlingException", 400),
        client_error("ServiceUnavailable", 503),
        client_error("InternalFailure", 500),
        client_error("InternalDependencyException", 530),
        client_error("ModelError", 424, OriginalStatusCode=503, OriginalMessage="busy"),
        client_error("ModelError", 424, OriginalStatusCode=507, OriginalMessage="full"),
        ReadTimeoutError(endpoint_url="https://endpoint"),
    ],
)
def test_cold_model_is_retried_and_then_reported_in_bounded_time(world, error):
    world.endpoint.errors = [error] * 3
    assert world.send()[0] == 200
    assert len(world.endpoint.calls) == 4
    start = world.now
    world.endpoint.errors = [error] * 1000
    status, content, headers = world.send()
    assert (status, content["error"]["code"], headers["retry-after"]) == (503, "not_ready", "5")
    assert world.now - start <= SETTINGS.retry_seconds
    assert "its message" not in content["error"]["message"]


def test_what_may_end_containers_is_not_sent_to_many_of_them(world):
    error = client_error("ModelError", 424, OriginalStatusCode=0, OriginalMessage="no response")
    world.endpoint.errors = [error] * 2
    assert world.send()[0] == 200
    world.endpoint.calls.clear()
    world.endpoint.errors = [error] * 1000
    assert refused(world)[:2] == (503, "not_ready")
    assert len(world.endpoint.calls) == 3


@pytest.mark.parametrize(
    ("original", "status", "code"),
    [(400, 422, "invalid_instances"), (422, 422, "invalid_instances"), (500, 424, "model_error")],
)
def test_error_of_the_model_is_passed_on(world, original, status, code):
    members = {"OriginalStatusCode": original, "OriginalMessage": "feature 'dti' is missing"}
    world.endpoint.errors = [client_error("ModelError", 424, **members)]
    assert refused(world) == (status, code, "feature 'dti' is missing")
    assert len(world.endpoint.calls) == 1


@pytest.mark.parametrize(
    ("original", "said"),
    [
        ('{"error": "no feature x"}', "no feature x"),
        ('{"error": 3}', '{"error": 3}'),
        ("[]", "[]"),
        ("plain", "plain"),
        ("[" * 5000, "[" * 2000),
    ],
)
def test_message_of_the_models_server_is_unwrapped(world, original, said):
    members = {"OriginalStatusCode": 400, "OriginalMessage": original}
    world.endpoint.errors = [client_error("ModelError", 424, **members)]
    assert refused(world) == (422, "invalid_instances", said)


@pytest.mark.parametrize(
    "error", [client_error("ValidationError", 400), client_error("AccessDeniedException", 403)]
)
def test_unusable_endpoint_is_the_operators_business(world, error, capsys):
    world.endpoint.errors = [error]
    status, content, headers = world.send()
    assert (status, content["error"]["code"], headers["retry-after"]) == (503, "endpoint_unavailable", "30")
    assert "its message" not in content["error"]["message"]
    assert "its message" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"predictions": 3}', b'{"predictions": [1, 2]}', b'{"predictions": [NaN]}', b"\xff"],
)
def test_answer_that_is_none(world, answer):
    world.endpoint.answer = answer
    assert refused(world)[:2] == (424, "model_error")
