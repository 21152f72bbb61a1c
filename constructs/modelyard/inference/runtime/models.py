"""Which artifact serves a model now: read from the deployer's table, remembered for a bounded time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.log import log

from .errors import ApiError
from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The deployed version of a model; `artifact` is the endpoint's `TargetModel`."""

    version: int
    artifact: str
    since: str


class Models:
    """Looks models up through a `dynamodb` client.

    An answer is reused for `cache_seconds`, and for up to `stale_seconds` more while the table cannot be
    read: predictions outlast an outage of the table, and a rejected version is out after that time at most.
    """

    def __init__(
        self, client: Any, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._settings, self._clock = client, settings, clock
        self._known: dict[str, tuple[float, Served | None]] = {}

    def find(self, name: str) -> Served:
        """Raises ApiError for a model that is unknown, not deployed, or cannot be looked up."""
        # A fixed list: nobody fills the cache or spends reads with names of their own.
        if name not in self._settings.models:
            raise ApiError(404, "unknown_model", f"no model {name[:63]!r}; GET /models lists what there is")
        served = self._look_up(name)
        if served is None:
            raise ApiError(404, "model_not_deployed", f"model {name!r} has no approved version")
        return served

    def listing(self) -> list[dict[str, Any]]:
        """Every model that may be asked for, with its version, or None where no version serves."""
        found = {name: self._look_up(name) for name in self._settings.models}
        return [
            {"model": name, "version": served and served.version, "since": served and served.since}
            for name, served in found.items()
        ]

    def _look_up(self, name: str) -> Served | None:
        now = self._clock()
        read_at, served = self._known.get(name, (float("-inf"), None))
        age = now - read_at
        if age < self._settings.cache_seconds:
            return served
        try:
            served = self._read(name)
        except (ClientError, BotoCoreError) as error:
            log("table not readable", model=name, error=str(error))
            if age < self._settings.cache_seconds + self._settings.stale_seconds:
                return served
            message = "cannot look up which version serves; try again"
            raise ApiError(503, "not_ready", message, retry_after=5) from error
        self._known[name] = (now, served)
        return served

    def _read(self, name: str) -> Served | None:
        answer = self._client.get_item(
            TableName=self._settings.table_name, Key={"group": {"S": name}}, ConsistentRead=True
        )
        serving = answer.get("Item", {}).get("serving")
        if serving is None:
            return None
        members = serving["M"]
        return Served(
            version=int(members["version"]["N"]),
            artifact=members["artifact"]["S"],
            since=members["since"]["S"],
        )
