"""The inference function is idempotent: what was asked or failed before changes no answer."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inference_world import CALL, ROW, FakeBucket, World, client_error

IMAGE = "s3://data/images/a.png"
COLD = client_error("ModelNotReadyException", 429)
# By name: the arguments of `World.send`.
REQUESTS = {
    "rows": {"body": CALL},
    "more rows": {"body": {"model": "loans", "instances": [ROW, {**ROW, "fico": 1}]}},
    "csv": {"body": "fico,state\n700,CA\n", "content_type": "text/csv", "query": "model=loans"},
    "an image": {"body": {"model": "loans", "images": [IMAGE]}},
    "no such image": {"body": {"model": "loans", "images": ["s3://data/images/b.png"]}},
    "nothing deployed": {"body": {**CALL, "model": "homes"}},
    "unknown model": {"body": {**CALL, "model": "theirs"}},
    "no row": {"body": {"model": "loans", "instances": []}},
    "no json": {"body": "{"},
    "models": {"body": "", "method": "GET", "path": "/models"},
    "health": {"body": "", "method": "GET", "path": "/health"},
}
NAMES = sorted(REQUESTS)
PREDICTED = ("rows", "more rows", "csv", "an image")


def world():
    return World(bucket=FakeBucket({"images/a.png": b"picture"}))


def outside(found):
    """All that outlasts the function; its role may write none of it, and the fakes take no write."""
    return copy.deepcopy((vars(found.table) | {"reads": 0}, found.bucket.objects))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_twice_gets_the_same_answer_and_leaves_nothing(name):
    found = world()
    before = outside(found)
    first, second = found.send(**REQUESTS[name]), found.send(**REQUESTS[name])
    assert first == second
    assert outside(found) == before
    assert (first[0] == 200) == (name in (*PREDICTED, "models", "health"))
    sent = [json.dumps(call, default=bytes.decode) for call in found.endpoint.calls]
    assert len(sent) == (2 if name in PREDICTED else 0)
    assert len(set(sent)) <= 1  # to the byte, with the same id


@pytest.mark.parametrize("name", PREDICTED)
def test_a_cold_model_between_changes_nothing(name):
    found = world()
    first = found.send(**REQUESTS[name])
    found.endpoint.errors = [COLD] * 2
    assert found.send(**REQUESTS[name]) == first
    assert found.send(**REQUESTS[name]) == first
    calls = found.endpoint.calls
    assert len(calls) == 1 + 3 + 1
    assert all(call == calls[0] for call in calls)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.floats(0, 30)), max_size=12))
def test_no_answer_depends_on_what_was_asked_before(asked):
    """Each as the first request of a new process answers it; `cold`: how often its model was not ready."""
    found = world()
    for name, cold, seconds in asked:
        found.endpoint.errors = [COLD] * cold
        assert found.send(**REQUESTS[name]) == world().send(**REQUESTS[name])
        found.endpoint.errors = []
        found.now += seconds
