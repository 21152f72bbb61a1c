"""Callers of a deployed function URL who never try again: what went wrong is an answer, too.

with Traffic(app, MODEL, [row()], callers=4, per_second=50) as traffic:
    ...                                              # whatever happens to the app meanwhile
traffic.failed                                       # [] if nobody noticed
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from types import TracebackType
from typing import Any

import boto3

from modelyard_client import ApiError, Client

# Above what the function itself may take.
_LONGEST_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request: `status` 0 where there was no answer; `code` of the error, empty for a prediction.

    `at` is when it was to be sent, in seconds of `time.monotonic`; `seconds` from then on.
    """

    at: float
    seconds: float
    status: int
    model: str = ""
    version: int | None = None
    code: str = ""


class Caller:
    """Asks for the same rows again and again.

    Args:
        url: of the function.
        session: signs.
        models: asked in turn.
        rows: that each is asked for.
        callers: threads that use it.
    """

    def __init__(
        self,
        url: str,
        session: boto3.Session,
        models: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        callers: int = 1,
    ) -> None:
        credentials = session.get_credentials()
        assert credentials is not None
        self._client = Client(
            url,
            credentials=credentials,
            region=session.region_name,
            deadline_seconds=_LONGEST_S,
            max_attempts=1,
            max_connections=callers,
        )
        self._models, self._rows = cycle(models), list(rows)

    def ask(self, at: float | None = None) -> Answer:
        """One request; `at` is when it should have been sent, now if None."""
        began = time.monotonic() if at is None else at
        try:
            answer = self._client.predict(next(self._models), self._rows)
        except ApiError as error:
            seconds = time.monotonic() - began
            return Answer(at=began, seconds=seconds, status=error.status or 0, code=error.code)
        seconds = time.monotonic() - began
        return Answer(at=began, seconds=seconds, status=200, model=answer.model, version=answer.version)


class Traffic:
    """Callers in threads, from entering the block to leaving it.

    Args:
        caller: whom they all use.
        callers: how many, so many requests are on their way at most.
        per_second: of all together, by a fixed timetable: who is late sends at once, and the wait counts.
            As fast as they can if None.

    Attributes:
        answers: of all, in no order.
    """

    def __init__(self, caller: Caller, *, callers: int, per_second: float | None = None) -> None:
        self.answers: list[Answer] = []
        self._caller, self._interval = caller, 1 / per_second if per_second else None
        self._ended = threading.Event()
        self._turn, self._lock = 0, threading.Lock()
        self._began = 0.0
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]

    def __enter__(self) -> Traffic:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answer]:
        """Requests that got no prediction."""
        return [answer for answer in self.answers if answer.status != 200]

    @property
    def versions(self) -> Counter[int | None]:
        """How many answers came from each version."""
        return Counter(answer.version for answer in self.answers if answer.status == 200)

    @property
    def per_second(self) -> float:
        """Answers a second so far."""
        last = max(answer.at + answer.seconds for answer in self.answers)
        return len(self.answers) / (last - self._began)

    def slowest(self) -> float:
        """Seconds of the longest request."""
        return max(answer.seconds for answer in self.answers)

    def _call(self) -> None:
        while not self._ended.is_set():
            at = self._next()
            if at is not None and self._ended.wait(max(0.0, at - time.monotonic())):
                return
            self.answers.append(self._caller.ask(at))

    def _next(self) -> float | None:
        if self._interval is None:
            return None
        with self._lock:
            self._turn += 1
            return self._began + self._turn * self._interval


def percentile(answers: Sequence[Answer], share: float) -> float:
    """Seconds within which that share of the requests was answered."""
    ordered = sorted(answer.seconds for answer in answers)
    return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]
