"""What looks at metric alarms when their time has come. Decisions are those of `autoscaling.rules.alarm`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from localcloud.autoscaling.rules.alarm import State, evaluate
from localcloud.cloudwatch.datapoints import Source
from localcloud.cloudwatch.definition import Watched, reason, reason_data, watched
from localcloud.ticking import Ticking

# (alarm's name, state, reason, reason for programs)
Change = Callable[[str, State, str, str], None]
# (alarm's name, state, newest datapoint)
Stay = Callable[[str, State, float | None], None]
_LONGEST_PAUSE, _SHORTEST_PAUSE = 1.0, 0.1
# How long datapoints may take to arrive after the end of their period, in seconds of the alarm's clock.
_GRACE, _LONGEST_GRACE = 9.0, 1.5
_log = logging.getLogger(__name__)


class Evaluator(Ticking):
    """Evaluates the metric alarms of one cloud, each once a minute, or once in ten seconds.

    Args:
        alarms: as DescribeAlarms shows them.
        source: of datapoints.
        change: tells an alarm's new state.
        stay: tells that an alarm is still in its state; AWS repeats the actions that scale once a minute.
        clock: how many times faster the periods of metrics pass.
        now: epoch seconds; tests drive it.
    """

    def __init__(
        self,
        alarms: Callable[[], Iterable[Mapping[str, Any]]],
        source: Source,
        change: Change,
        *,
        stay: Stay = lambda *_: None,
        clock: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("cloudwatch-alarms")
        self._alarms, self._source, self._change, self._stay = alarms, source, change, stay
        self._clock, self._now = clock, now
        self._done: dict[str, int] = {}  # the last evaluation, by alarm

    def pause(self) -> float:
        """Often enough for periods that pass faster."""
        return max(_SHORTEST_PAUSE, min(_LONGEST_PAUSE, 5 / self._clock))

    def tick(self) -> None:
        """Evaluate what is due now."""
        known = list(self._alarms())
        for alarm in known:
            try:
                found = watched(alarm)
                if found is not None:
                    self._look(found, State(alarm["StateValue"]))
            except Exception:
                # One alarm's trouble must not keep the others from being evaluated.
                if not self._closed.is_set():
                    _log.exception("alarm %s", alarm.get("AlarmName"))
        names = {alarm["AlarmName"] for alarm in known}
        self._done = {name: step for name, step in self._done.items() if name in names}

    def _look(self, found: Watched, before: State) -> None:
        every, seconds = found.every / self._clock, found.period / self._clock
        step = int((self._now() - min(_LONGEST_GRACE, _GRACE / self._clock)) // every)
        # A new alarm is looked at when the present period has ended.
        if step <= self._done.setdefault(found.name, step):
            return
        self._done[found.name] = step
        end = step * every
        points = found.points(self._source, end, seconds)
        state = evaluate(found.rule, points, before)
        if state is not before:
            text = reason(found, state, points, end, seconds)
            self._change(found.name, state, text, reason_data(found, points, end, seconds))
        else:
            newest = next((value for value in reversed(points) if value is not None), None)
            self._stay(found.name, state, newest)
