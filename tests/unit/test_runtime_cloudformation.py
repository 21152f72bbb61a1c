"""Custom resources: each event gets one answer that CloudFormation takes, whatever the handler does."""

import email.message
import json
import threading
import time
import urllib.error

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.runtime import cloudformation
from modelyard.runtime.cloudformation import NEVER_CREATED, AnswerError, put, respond

LONGEST = 4096
URL = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/answer?X-Amz-Signature=secret"


class Context:
    """What Lambda hands over, with a time of its own."""

    log_stream_name = "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"

    def __init__(self, seconds=900.0):
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int(1000 * (self._end - time.monotonic()))


class CloudFormation:
    """Keeps what it is told, as text."""

    def __init__(self):
        self.bodies = []

    def __call__(self, url, body):
        assert url == URL
        self.bodies.append(body)

    @property
    def answer(self):
        (body,) = self.bodies
        return json.loads(body)


def event(kind="Create", physical_id="loans", **changes):
    made = {
        "RequestType": kind,
        "ResponseURL": URL,
        "StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/app/1",
        "RequestId": "0b1c",
        "LogicalResourceId": "Pipeline",
        "ResourceType": "Custom::SageMakerPipeline",
        "ResourceProperties": {"PipelineName": "loans"},
        **changes,
    }
    return made if kind == "Create" else {**made, "PhysicalResourceId": physical_id}


def told(made, work, context=None):
    cloudformation_ = CloudFormation()
    respond(made, context or Context(), work, send=cloudformation_)
    return cloudformation_.answer


def fails(error):
    def work(_):
        raise error

    return work


KINDS = ("Create", "Update", "Delete")
ids = st.text(min_size=1, max_size=80)  # up to 960 bytes
errors = st.one_of(
    st.builds(ValueError, st.text(max_size=9000)),
    st.builds(KeyError, st.text(max_size=50)),
    st.builds(lambda text: RuntimeError(text * 500), st.text(max_size=20)),
    st.just(SystemExit(1)),
    st.just(KeyboardInterrupt()),
    st.just(ValueError()),
    st.just(ValueError("\ud800")),
)
outcomes = st.one_of(
    st.fixed_dictionaries(
        {"PhysicalResourceId": ids},
        optional={
            "Data": st.dictionaries(st.text(max_size=20), st.text(max_size=3000)),
            "NoEcho": st.booleans(),
        },
    ),
    st.fixed_dictionaries({"PhysicalResourceId": st.text(min_size=2000, max_size=2001)}),
    st.sampled_from(
        [
            {},
            None,
            {"PhysicalResourceId": ""},
            {"PhysicalResourceId": 7},
            {"PhysicalResourceId": "a", "Data": {"b": object()}},
            {"PhysicalResourceId": "a", "Data": []},
        ]
    ),
)


@given(
    kind=st.one_of(st.sampled_from(KINDS), st.text(max_size=20)),
    physical_id=ids,
    properties=st.recursive(
        st.text(), lambda inner: st.dictionaries(st.text(max_size=9), inner), max_leaves=5
    ),
    does=st.one_of(errors, outcomes),
)
def test_any_event_and_any_handler_make_one_answer(kind, physical_id, properties, does):
    def work(_):
        if isinstance(does, BaseException):
            raise does
        return does

    made = event(kind, physical_id, ResourceProperties=properties)
    sent = CloudFormation()
    respond(made, Context(), work, send=sent)
    (body,) = sent.bodies
    assert len(body) <= LONGEST
    answer = json.loads(body)
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        assert answer[name] == made[name]
    assert answer["PhysicalResourceId"]
    assert answer["Status"] in ("SUCCESS", "FAILED")
    assert (answer["Status"] == "FAILED") == bool(answer.get("Reason"))
    if isinstance(does, BaseException):
        assert answer["Status"] == "FAILED"
    if kind == "Delete" or (kind == "Update" and answer["Status"] == "FAILED"):
        assert answer["PhysicalResourceId"] == physical_id


def test_a_success_says_what_the_handler_says():
    outcome = {"PhysicalResourceId": "loans", "Data": {"PipelineArn": "arn"}, "NoEcho": True}
    assert told(event(), lambda _: outcome) == {
        "Status": "SUCCESS",
        "StackId": event()["StackId"],
        "RequestId": "0b1c",
        "LogicalResourceId": "Pipeline",
        **outcome,
    }


def test_an_update_may_replace_and_keeps_the_id_otherwise():
    assert told(event("Update"), lambda _: {"PhysicalResourceId": "new"})["PhysicalResourceId"] == "new"
    assert told(event("Update"), lambda _: {})["PhysicalResourceId"] == "loans"


def test_a_deletion_cannot_name_another_resource():
    answer = told(event("Delete"), lambda _: {"PhysicalResourceId": "other"})
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "loans")


def test_what_was_never_created_is_not_deleted():
    """CloudFormation sends the deletion of what failed to be created, under the id that it was told."""
    failed = told(event(), fails(ValueError("no such role")))
    assert failed["PhysicalResourceId"] == NEVER_CREATED
    assert failed["Reason"].startswith("ValueError: no such role")
    deleted = told(event("Delete", failed["PhysicalResourceId"]), fails(AssertionError("called")))
    assert deleted["Status"] == "SUCCESS"


def test_a_success_that_does_not_fit_is_a_failure_that_can_be_deleted():
    answer = told(event(), lambda _: {"PhysicalResourceId": "loans", "Data": {"Text": "x" * LONGEST}})
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "loans")
    assert "4096 bytes" in answer["Reason"]


def test_a_failure_says_where_the_log_is_and_no_secret(capsys):
    answer = told(event(), fails(ValueError("x" * 9000)))
    assert answer["Reason"].endswith(f"(log stream {Context.log_stream_name})")
    assert "X-Amz-Signature" not in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://example.com/answer", "file:///etc/passwd", "", None])
def test_answers_go_over_https_or_not_at_all(url):
    sent = CloudFormation()
    called = []
    with pytest.raises(AnswerError, match="https"):
        respond(event(ResponseURL=url), Context(), called.append, send=sent)
    assert (sent.bodies, called) == ([], [])


def test_lambdas_end_is_told_before_it_comes(monkeypatch):
    """The work goes on until Lambda ends it; it must not answer again."""
    monkeypatch.setattr(cloudformation, "ANSWER_SECONDS", 0.2)
    sent, release = CloudFormation(), threading.Event()

    def work(_):
        assert release.wait(60)
        return {"PhysicalResourceId": "loans"}

    thread = threading.Thread(
        target=respond, args=(event("Delete"), Context(0.5), work), kwargs={"send": sent}
    )
    thread.start()
    deadline = time.monotonic() + 60
    while not sent.bodies and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent.answer["Status"] == "FAILED"
    assert "about to end" in sent.answer["Reason"]
    release.set()
    thread.join()
    assert len(sent.bodies) == 1


@given(st.floats(0.0, 0.02))
def test_who_is_done_at_the_last_moment_answers_once(seconds):
    sent = CloudFormation()

    def work(_):
        time.sleep(seconds)
        return {"PhysicalResourceId": "loans"}

    respond(event(), Context(0.02), work, send=sent)
    time.sleep(0.005)
    assert len(sent.bodies) == 1


def test_a_function_waits_for_the_answer_that_its_deadline_is_sending():
    """Lambda freezes what still runs when the handler returns."""
    log, sending = [], threading.Event()

    def slow(_url, _body):
        log.append("sending")
        sending.set()
        time.sleep(0.1)
        log.append("sent")

    def work(_):
        assert sending.wait(60)
        return {"PhysicalResourceId": "loans"}

    respond(event(), Context(0.02), work, send=slow)
    assert log == ["sending", "sent"]


def test_who_is_not_heard_at_the_deadline_answers_at_the_end():
    tries = []

    def send(_url, body):
        tries.append(json.loads(body)["Status"])
        if len(tries) == 1:
            raise AnswerError("no network")

    def work(_):
        deadline = time.monotonic() + 60
        while not tries and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.01)
        return {"PhysicalResourceId": "loans"}

    respond(event(), Context(0.02), work, send=send)
    assert tries == ["FAILED", "SUCCESS"]


class Web:
    """Stands for urlopen: does what it is told, one after the other."""

    def __init__(self, *does):
        self.does, self.requests = list(does), []

    def __call__(self, request, timeout):
        assert timeout > 0
        self.requests.append(request)
        now = self.does.pop(0)
        if isinstance(now, Exception):
            raise now
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def http_error(code):
    return urllib.error.HTTPError("https://x", code, "no", email.message.Message(), None)


@pytest.fixture
def web(monkeypatch):
    def install(*does):
        made = Web(*does)
        monkeypatch.setattr("urllib.request.urlopen", made)
        return made

    return install


def test_an_answer_is_put_without_a_content_type(web):
    """The URL is signed without one: S3 refuses any other."""
    made = web(None)
    put(URL, b"{}")
    (request,) = made.requests
    assert (request.get_method(), request.full_url, request.data) == ("PUT", URL, b"{}")
    assert request.get_header("Content-type") == ""


def test_what_passes_is_tried_again(web):
    pauses = []
    faults = (http_error(503), http_error(429), urllib.error.URLError("reset"), TimeoutError("slow"))
    made = web(*faults, None)
    put(URL, b"{}", sleep=pauses.append)
    assert len(made.requests) == 5
    assert pauses == sorted(pauses)
    assert len(pauses) == 4


def test_what_stays_lost_is_an_error_of_the_function(web):
    web(*[urllib.error.URLError("reset")] * 9)
    with pytest.raises(AnswerError, match="reset"):
        put(URL, b"{}", sleep=lambda _: None)


def test_a_refused_answer_is_not_repeated(web):
    """An old URL, or one that has had its answer."""
    made = web(http_error(403), None)
    with pytest.raises(AnswerError, match="403"):
        put(URL, b"{}", sleep=lambda _: None)
    assert len(made.requests) == 1
