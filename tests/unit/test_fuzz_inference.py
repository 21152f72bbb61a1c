"""The inference function's handler under requests and surroundings of every kind: it answers, and clearly.

It calls services of a server that speaks AWS's HTTP, through botocore. More cases: FUZZ_CASES=10000.
"""

import base64
import contextlib
import importlib
import io
import json
import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.unit import fuzz_requests
from tests.unit.fuzz_report import report
from tests.unit.fuzz_services import (
    MOVED,
    PREDICTIONS,
    UNFINISHED,
    WRONG_REGIONS,
    Answer,
    Conditions,
    Services,
    conditions,
)

CASES = int(os.environ.get("FUZZ_CASES", "300"))
# Hypothesis remembers every choice of a run: more of them would fill the memory.
BATCH = 500
SLOWEST_SECONDS = 10.0
LONGEST_MESSAGE = 2000
ENVIRONMENT = {
    "ENDPOINT_NAME": "models", "TABLE_NAME": "records", "MODELS": "loans,homes,digits", "CACHE_SECONDS": "0",
    "STALE_SECONDS": "0", "MAX_BODY_BYTES": "20000", "MAX_ROWS": "20", "RETRY_SECONDS": "0",
    "IMAGE_BUCKET": "data", "IMAGE_PREFIX": "images/", "MAX_IMAGES": "8", "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
}  # fmt: skip
README = Path(__file__).parents[2] / "constructs" / "modelyard" / "inference" / "README.md"
DOCUMENTED = {
    (int(status), code)
    for status, codes in re.findall(r"^\| (\d{3}) \| ([^|]+) \|", README.read_text(), re.M)
    for code in re.findall(r"`(\w+)`", codes)
}


# Answers to requests that hypothesis made, by status.
SEEN = Counter()


@pytest.fixture(scope="module", autouse=True)
def reported():
    began = time.monotonic()
    yield
    if SEEN:
        report("inference function", SEEN.total(), began, SEEN)


@pytest.fixture(scope="module")
def services():
    with Services() as running:
        yield running
        assert running.strayed == []


@pytest.fixture(scope="module")
def handle(services):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": services.url}.items():
            patch.setenv(name, value)
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE"):
            patch.delenv(name, raising=False)
        # botocore waits before it tries again.
        patch.setattr("time.sleep", lambda seconds: None)
        yield importlib.reload(importlib.import_module("inference_runtime.handler")).handle


@st.composite
def events(draw, most_odd=3):
    """A request as a function URL hands it on; binary bodies, by content type, in base64."""
    method, path, query, headers, body = draw(fuzz_requests.requests(most_odd))
    encoded = draw(st.booleans())
    try:
        text = base64.b64encode(body).decode() if encoded else body.decode()
    except UnicodeDecodeError:
        encoded, text = True, base64.b64encode(body).decode()
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1"},
            "stage": "$default",
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


@st.composite
def odd_events(draw):
    """What `aws lambda invoke` may send, and base64 that is none."""
    event = draw(events(most_odd=1))
    things = st.one_of(st.none(), st.just({}), st.just([]), st.text(max_size=5), st.integers(), st.booleans())
    for _ in range(draw(st.integers(1, 3))):
        name = draw(
            st.sampled_from(
                [*event, "body", "headers", "requestContext", "cookies", "content-type", "method"]
            )
        )
        if name == "content-type" and isinstance(event.get("headers"), dict):
            event["headers"][draw(st.sampled_from(["content-type", "Content-Type", "CONTENT-TYPE"]))] = draw(
                things
            )
        elif name == "method" and isinstance(event.get("requestContext"), dict):
            event["requestContext"]["http"] = draw(st.one_of(things, st.just({"method": draw(things)})))
        elif draw(st.booleans()):
            event.pop(name, None)
        else:
            event[name] = draw(things)
    return draw(st.one_of(st.just(event), st.just(event), st.just(event), things))


def check(answer, log, request_id):
    """What holds for every answer; returns its status."""
    status = answer["statusCode"]
    content = json.loads(answer["body"], parse_constant=pytest.fail)
    assert answer["headers"]["content-type"] == "application/json"
    assert content["request_id"] == request_id
    if status != 200:
        error = content["error"]
        assert (status, error["code"]) in DOCUMENTED
        message = error["message"]
        assert message.isprintable()
        assert 0 < len(message) <= LONGEST_MESSAGE
        assert not re.search(r"Traceback|<class|object at 0x|NoneType|sys\.", message)
        assert ("retry-after" in answer["headers"]) == (status == 503)
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict)
    for mark in fuzz_requests.MARKS:
        spellings = {mark, json.dumps(mark)[1:-1], base64.b64encode(mark.encode()).decode()[:10]}
        assert not any(spelling in answer["body"] or spelling in log for spelling in spellings)
    return status


def ask(handle, event, request_id="request-1"):
    log, begun = io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(log):
        answer = handle(
            event, SimpleNamespace(aws_request_id=request_id, function_name="inference", function_version="7")
        )
    assert time.monotonic() - begun < SLOWEST_SECONDS
    return check(answer, log.getvalue(), request_id)


def event_of(content):
    http = {"method": "POST", "path": "/"}
    headers = {"content-type": "application/json"}
    return {"rawPath": "/", "headers": headers, "requestContext": {"http": http}, "body": content}


SOUND = event_of('{"model": "loans", "instances": [{"fico": 700}]}')
OF_IMAGES = event_of('{"model": "digits", "images": ["s3://data/images/a.png"]}')


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (3, 400),
        ({}, 400),
        ({**SOUND, "headers": None}, 415),
        ({**SOUND, "body": None}, 400),
        (event_of('{"model": "loans", "instances": [{"fico": %s}]}' % ("9" * 5000)), 400),
        (event_of('{"model": "loans", "instances": [{"fi\\nco": {}}]}'), 422),
    ],
)
def test_what_once_raised_or_was_unclear(handle, services, event, status):
    services.conditions = Conditions()
    assert ask(handle, event) == status


@pytest.mark.parametrize("text", PREDICTIONS)
def test_predictions_of_every_kind(handle, services, text):
    services.conditions = Conditions(endpoint=Answer(200, b'{"predictions": %s}' % text.encode()))
    status = ask(handle, SOUND)
    assert status in ((422,) if text == PREDICTIONS[-1] else (200, 424))


@pytest.mark.parametrize("answer", [*UNFINISHED, Answer(502, b"\xff"), Answer(200, b"\xff")])
def test_whatever_a_service_answers(handle, services, answer):
    services.conditions = Conditions(endpoint=answer)
    assert ask(handle, SOUND) in (424, 503)
    services.conditions = Conditions(table=answer)
    assert ask(handle, SOUND) == 503
    services.conditions = Conditions(bucket=answer)
    assert ask(handle, OF_IMAGES) in (200, 503)


@pytest.mark.parametrize(
    "body",
    [
        b"0",
        b"[]",
        b'"text"',
        b"true",
        b"null",
        b'{"Item": 0}',
        b'{"Item": [1]}',
        b'{"Item": {"serving": 0}}',
        b'{"Item": {"serving": {"M": {}}}}',
    ],
)
def test_an_answer_of_the_table_whose_form_is_not_its_own(handle, services, body):
    services.conditions = Conditions(table=Answer(200, body))
    assert ask(handle, SOUND) == 503


@pytest.mark.parametrize("answer", [*MOVED, *WRONG_REGIONS])
def test_what_says_to_look_elsewhere_is_not_followed(handle, services, answer):
    services.conditions = Conditions(bucket=answer)
    assert ask(handle, OF_IMAGES) == 503
    services.conditions = Conditions(table=answer)
    assert ask(handle, SOUND) == 503
    services.conditions = Conditions(endpoint=answer)
    assert ask(handle, SOUND) == 503


def batches(count):
    return pytest.mark.parametrize("batch", range(-(-count // BATCH)))


def run(test, batch, count, **strategies):
    """Each batch is a run of hypothesis of its own."""
    test = given(**strategies)(test)
    if settings.default.derandomize:
        # Or every batch would hold the same cases.
        test = seed(batch)(test)
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    settings(max_examples=min(BATCH, count - batch * BATCH), deadline=None, suppress_health_check=slow)(
        test
    )()


@batches(CASES * 6 // 10)
def test_requests_of_every_kind_while_all_is_well(handle, services, batch):
    def test(event, canary):
        services.conditions = Conditions(canary=canary)
        status = ask(handle, event)
        SEEN[status] += 1
        assert status < 500

    run(test, batch, CASES * 6 // 10, event=events(), canary=st.booleans())


@batches(CASES * 3 // 10)
def test_requests_of_every_kind_while_something_fails(handle, services, batch):
    def test(event, now, chance):
        services.conditions = now
        random.seed(chance)
        status = ask(handle, event)
        SEEN[status] += 1
        assert status < 500 or (status == 503 and not now.are_well)

    run(test, batch, CASES * 3 // 10, event=events(most_odd=1), now=conditions, chance=st.integers(0, 7))


@batches(CASES // 10)
def test_events_that_no_url_sends(handle, services, batch):
    def test(event):
        services.conditions = Conditions()
        status = ask(handle, event)
        SEEN[status] += 1
        assert status < 500

    run(test, batch, CASES // 10, event=odd_events())
