"""Answers CloudFormation for the function behind a custom resource: once for each event, whatever happens.

In place of CDK's provider framework, which is a function, a role and a log group more for each of ours.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import http.client
import json
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from modelyard.runtime.log import log

# The physical id of what failed to be created. CloudFormation sends its deletion, which has nothing to do.
NEVER_CREATED = "modelyard:never-created"
# Before Lambda ends the function; what is not done by then is a failure, or the stack would wait in vain.
ANSWER_SECONDS = 15.0

_LONGEST_ANSWER, _LONGEST_ID = 4096, 1024  # bytes that CloudFormation takes
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_ATTEMPT_SECONDS = 5.0

Event = Mapping[str, Any]
Send = Callable[[str, bytes], None]


class Context(Protocol):
    """The part of Lambda's context that is used."""

    log_stream_name: str

    def get_remaining_time_in_millis(self) -> int: ...


class AnswerError(Exception):
    """CloudFormation did not get the answer."""


def put(url: str, body: bytes, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Send an answer, repeatedly where that may help. Raises AnswerError when it did not arrive."""
    # An empty type, as the URL is signed without one.
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310
    for pause in (*_PAUSES, None):
        try:
            with urllib.request.urlopen(request, timeout=_ATTEMPT_SECONDS):  # noqa: S310 - https, see `respond`
                return
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if refused or pause is None:
                raise AnswerError(f"CloudFormation did not get the answer: {error}") from error
        sleep(pause)


def respond(event: Event, context: Context, work: Callable[[Event], Any], *, send: Send = put) -> None:
    """Do the work of an event and tell CloudFormation how it ended.

    Args:
        event: What CloudFormation sends.
        context: Lambda's context.
        work: Returns, in CloudFormation's words, `PhysicalResourceId` (an update may leave it out) and, if
            there are any, `Data` and `NoEcho`. What it raises is the failure's reason. It must bear an event
            that comes twice, as Lambda may deliver it.
        send: Takes URL and body.

    Raises:
        AnswerError: CloudFormation cannot be told.
    """
    url = event.get("ResponseURL")
    if not isinstance(url, str) or not url.startswith("https://"):
        raise AnswerError("the event has no https ResponseURL: CloudFormation did not send it")
    names = {"type": event.get("RequestType"), "resource": event.get("LogicalResourceId")}
    log("request", **names, id=event.get("RequestId"))
    answer = _Answer(url, send, where=f" (log stream {context.log_stream_name})")
    remaining = context.get_remaining_time_in_millis() / 1000
    early = remaining - min(ANSWER_SECONDS, remaining / 2)
    deadline = threading.Timer(early, answer.give_up, args=(event, early))
    deadline.daemon = True
    deadline.start()
    try:
        body = answer.success(event, _done(event, work))
    # SystemExit and its like, too: nobody else would answer.
    except BaseException as error:
        log("request failed", **names, error=str(error), trace=traceback.format_exc())
        body = answer.failure(event, f"{type(error).__name__}: {error}")
    deadline.cancel()
    answer.once(body)


def _done(event: Event, work: Callable[[Event], Any]) -> Mapping[str, Any]:
    if event["RequestType"] == "Delete" and event["PhysicalResourceId"] == NEVER_CREATED:
        return {}
    outcome = work(event)
    if not isinstance(outcome, dict) or not isinstance(outcome.get("Data", {}), dict):
        raise TypeError("the handler's outcome is no mapping with, if any, a mapping as Data")
    return outcome


class _Answer:
    """The answer to one event: made of what happened, sent once."""

    def __init__(self, url: str, send: Send, where: str) -> None:
        self._url, self._send, self._where = url, send, where
        self._lock, self._sent = threading.Lock(), False

    def once(self, body: bytes) -> None:
        """Send it, unless one was sent; waits for one that is on its way, as Lambda freezes who returns."""
        with self._lock:
            if not self._sent:
                self._send(self._url, body)
                self._sent = True

    def give_up(self, event: Event, seconds: float) -> None:
        """What the deadline says."""
        try:
            self.once(self.failure(event, f"not done after {seconds:.0f} s, and Lambda is about to end it"))
        except AnswerError as error:
            log("deadline not told", error=str(error))

    def success(self, event: Event, outcome: Mapping[str, Any]) -> bytes:
        """Of the outcome, or a failure if CloudFormation would not take that."""
        own = event.get("PhysicalResourceId")
        name = own if event["RequestType"] == "Delete" else outcome.get("PhysicalResourceId", own)
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_ID:
            raise ValueError(
                f"the handler's PhysicalResourceId must be text of 1 to {_LONGEST_ID} characters"
            )
        extra = {key: outcome[key] for key in ("Data", "NoEcho") if key in outcome}
        body = _encoded(event, {"Status": "SUCCESS", "PhysicalResourceId": name, **extra})
        if len(body) > _LONGEST_ANSWER:
            reason = f"the answer has {len(body)} bytes, CloudFormation takes {_LONGEST_ANSWER} bytes"
            return self.failure({**event, "PhysicalResourceId": own or name}, reason)
        return body

    def failure(self, event: Event, reason: str) -> bytes:
        """With as much of the reason as fits."""
        name = event.get("PhysicalResourceId") or NEVER_CREATED
        reason = reason.encode(errors="replace").decode()
        while True:
            members = {"Status": "FAILED", "PhysicalResourceId": name, "Reason": reason + self._where}
            body = _encoded(event, members)
            if len(body) <= _LONGEST_ANSWER or not reason:
                return body
            reason = reason[: len(reason) * 9 // 10]


def _encoded(event: Event, members: Mapping[str, Any]) -> bytes:
    echoed = {name: event.get(name) for name in ("StackId", "RequestId", "LogicalResourceId")}
    return json.dumps({**echoed, **members}).encode()
