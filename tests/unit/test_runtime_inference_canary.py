"""Canaries: who answers how often, who covers for whom, and what is counted."""

import json
import random
from unittest.mock import patch

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from inference_runtime.models import Served, Versions

from modelyard.runtime import metrics
from modelyard.runtime.limits import CANARY_RETRY_SECONDS
from tests.unit.inference_world import CALL, SETTINGS, World, client_error

OLD, NEW = "loans/3-abc.tar.gz", "loans/4-abc.tar.gz"
FAULTS = {
    "not ready": client_error("ModelNotReadyException", 429),
    "no answer": ReadTimeoutError(endpoint_url="https://endpoint"),
    "broken": client_error("ModelError", 424, OriginalStatusCode=500, OriginalMessage="broken"),
    "gone": client_error("ValidationError", 400),
}
REFUSES = client_error("ModelError", 424, OriginalStatusCode=400, OriginalMessage="no feature x")


def canary(chance=lambda: 0.0, percent=10):
    world = World(chance=chance)
    world.table.canary, world.table.percent = 4, percent
    return world


class Counted:
    """What was emitted, per version: invocations, errors."""

    def __init__(self):
        self.by_version = {}

    def __call__(self, namespace, dimensions, values, **properties):
        assert (namespace, list(dimensions)) == ("Modelyard/Inference", ["Model", "Version"])
        assert dimensions["Model"] == "loans"
        counts = self.by_version.setdefault(int(dimensions["Version"]), [0, 0])
        counts[0] += values["Invocations"][0]
        counts[1] += values["Errors"][0]


@pytest.fixture
def counted():
    with patch.object(metrics, "emit", Counted()) as emit:
        yield emit.by_version


@pytest.mark.parametrize(("chance", "version"), [(0.0, 4), (0.0999, 4), (0.1, 3), (0.9999, 3)])
def test_the_draw_decides(chance, version, counted):
    world = canary(lambda: chance)
    assert world.send()[1]["version"] == version
    assert world.endpoint.asked == [OLD if version == 3 else NEW]
    assert counted == {version: [1, 0]}


@given(percent=st.integers(1, 99), seed=st.integers(0, 2**32))
def test_the_share_drawn_is_the_one_asked_for(percent, seed):
    old, new = (Served(version=v, artifact=str(v), since="") for v in (3, 4))
    versions = Versions(serving=old, canary=new, percent=percent)
    chance, draws = random.Random(seed).random, 4000
    share = sum(versions.draw(chance()) is new for _ in range(draws)) / draws
    deviation = (percent / 100 * (1 - percent / 100) / draws) ** 0.5
    assert abs(share - percent / 100) < 6 * deviation


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_canary_at_fault_is_covered_and_counted(fault, counted):
    world = canary()
    world.endpoint.broken[4] = fault
    status, content, _ = world.send()
    assert (status, content["version"], content["predictions"]) == (200, 3, [1.5])
    assert world.endpoint.asked[-1] == OLD
    assert world.endpoint.asked.count(OLD) == 1
    assert world.now <= CANARY_RETRY_SECONDS
    assert counted == {4: [1, 1], 3: [1, 0]}


def test_an_answer_that_is_none_is_the_canarys_fault(counted):
    world = canary()
    invoke = world.endpoint.invoke_endpoint

    def once_wrong(**call):
        world.endpoint.answer = b'{"predictions": []}' if call["TargetModel"] == NEW else None
        return invoke(**call)

    world.endpoint.invoke_endpoint = once_wrong
    assert world.send()[1]["version"] == 3
    assert counted == {4: [1, 1], 3: [1, 0]}


def test_rows_that_both_refuse_are_the_callers_mistake(counted):
    world = canary()
    world.endpoint.broken = {3: REFUSES, 4: REFUSES}
    status, content, _ = world.send()
    assert (status, content["error"]["message"]) == (422, "no feature x")
    assert counted == {4: [1, 0], 3: [1, 0]}


def test_rows_that_only_the_canary_refuses_are_its_mistake(counted):
    world = canary()
    world.endpoint.broken[4] = REFUSES
    status, content, _ = world.send()
    assert (status, content["version"]) == (200, 3)
    assert counted == {4: [1, 1], 3: [1, 0]}


def test_both_failing_is_told_in_bounded_time(counted):
    world = canary()
    world.endpoint.broken = {3: FAULTS["not ready"], 4: FAULTS["not ready"]}
    assert world.send()[0] == 503
    assert world.now <= SETTINGS.retry_seconds
    assert counted == {4: [1, 1], 3: [1, 1]}


def test_serving_is_not_covered_by_the_canary(counted):
    world = canary(lambda: 0.5)
    world.endpoint.broken[3] = FAULTS["broken"]
    assert world.send()[0] == 424
    assert counted == {3: [1, 1]}


def test_a_canary_alone_serves_in_full(counted):
    world = canary(lambda: 0.9999)
    world.table.version = None
    assert world.send()[1]["version"] == 4
    world.endpoint.broken[4] = FAULTS["not ready"]
    assert world.send()[0] == 503
    # With all of the patience, as nobody else could answer.
    assert CANARY_RETRY_SECONDS < world.now <= SETTINGS.retry_seconds
    assert counted == {4: [2, 1]}
    entry = world.send("", method="GET", path="/models")[1]["models"][0]
    assert entry == {"model": "loans", "version": 4, "since": "then", "canary": None}


def test_the_list_names_the_canary():
    entry = canary().send("", method="GET", path="/models")[1]["models"][0]
    assert entry["version"] == 3
    assert entry["canary"] == {"version": 4, "since": "then", "percent": 10}


def test_the_end_of_a_canary_arrives_within_the_time_stated():
    world = canary()
    assert world.send()[1]["version"] == 4
    world.table.canary = None
    world.now += SETTINGS.cache_seconds - 0.001
    assert world.send()[1]["version"] == 4
    world.now += 0.001
    assert world.send()[1]["version"] == 3


outcomes = st.sampled_from([None, REFUSES, *FAULTS.values()])
requests = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), outcomes, outcomes), max_size=12)


@given(requests=requests, percent=st.integers(1, 99))
def test_no_request_is_lost_while_the_old_version_answers(requests, percent):
    chances = iter([chance for chance, *_ in requests])
    world = canary(lambda: next(chances), percent)
    with patch.object(metrics, "emit", Counted()) as emit:
        for chance, new, old in requests:
            world.endpoint.broken = {v: error for v, error in ((3, old), (4, new)) if error}
            status, content, _ = world.send()
            drawn = chance * 100 < percent
            if old is None:
                assert status == 200
            if status == 200:
                assert content["version"] == (4 if drawn and new is None else 3)
            assert status in {200, 422, 424, 503}
    faults = FAULTS.values()
    to_new = [(new, old) for chance, new, old in requests if chance * 100 < percent]
    to_old = [old for chance, new, old in requests if chance * 100 >= percent or new is not None]
    new_errors = sum(new in faults or (new is REFUSES and old is None) for new, old in to_new)
    assert emit.by_version.get(4, [0, 0]) == [len(to_new), new_errors]
    assert emit.by_version.get(3, [0, 0]) == [len(to_old), sum(old in faults for old in to_old)]


def test_a_request_is_one_line_in_cloudwatchs_format(capsys):
    world = World()
    world.send({**CALL, "instances": [{"state": "secret"}]})
    line = json.loads(capsys.readouterr().out)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive == {
        "Namespace": "Modelyard/Inference",
        "Dimensions": [["Model", "Version"]],
        "Metrics": [
            {"Name": "Invocations", "Unit": "Count"},
            {"Name": "Errors", "Unit": "Count"},
            {"Name": "Latency", "Unit": "Milliseconds"},
        ],
    }
    assert (line["Model"], line["Version"], line["Invocations"], line["Errors"]) == ("loans", "3", 1, 0)
    assert (line["event"], line["artifact"], line["rows"]) == ("predicted", OLD, 1)
    assert "secret" not in str(line)
