"""What publishes metrics once a minute of the cloud's clock."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod

from localcloud.context import Cloud
from localcloud.ticking import Ticking

_MINUTE = 60.0
# Before the minute ends, so that alarms find the value when they look at it.
_WITHIN_MINUTE = 0.9
_log = logging.getLogger(__name__)


class EveryMinute(Ticking):
    """Calls `publish` in the background.

    Args:
        name: of its thread, and in the log.
        cloud: whose clock it goes by.
    """

    def __init__(self, name: str, cloud: Cloud) -> None:
        super().__init__(name)
        self._name, self._cloud = name, cloud

    @abstractmethod
    def publish(self) -> None:
        """Measure once."""

    def pause(self) -> float:
        """Until just before the next minute of the cloud's clock."""
        return until_next(time.time(), _MINUTE / self._cloud.clock)

    def tick(self) -> None:
        """Publish, or log why not."""
        try:
            self.publish()
        except Exception:
            # The trouble of one that is measured must not silence all of them for good.
            if not self._closed.is_set():
                _log.exception("%s", self._name)


def until_next(now: float, every: float) -> float:
    """Seconds until the next time to publish, above 0."""
    return every - (now - _WITHIN_MINUTE * every) % every
