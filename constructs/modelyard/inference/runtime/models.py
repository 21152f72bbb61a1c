"""Which versions answer for a model now: read from the deployer's table, remembered for a bounded time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.invoke import BROKEN
from modelyard.runtime.log import log

from .errors import ApiError
from .settings import Settings

# That nothing serves is remembered for so long: people ask right after their first approval.
ABSENT_SECONDS = 1
# An answer that is no record: botocore's parser and what reads it ask for members that it has not.
_MISSHAPEN = (AttributeError, TypeError, LookupError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The deployed version of a model; `artifact` is the endpoint's `TargetModel`."""

    version: int
    artifact: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Who answers for a model: `serving`, but for `percent` of the requests `canary`, if there is one."""

    serving: Served
    canary: Served | None = None
    percent: int = 0

    def draw(self, chance: float) -> Served:
        """`chance` is uniform in [0, 1)."""
        return self.canary if self.canary and chance * 100 < self.percent else self.serving


class Models:
    """Looks models up through a `dynamodb` client.

    An answer is reused for `cache_seconds`, and for up to `stale_seconds` more while the table cannot be
    read: predictions outlast an outage of the table, and a rejected version is out after that time at most.
    Meanwhile it is asked again every `cache_seconds`, since each refusal takes seconds of retries. That no
    version serves is reused for `ABSENT_SECONDS`.
    """

    def __init__(
        self, client: Any, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._settings, self._clock = client, settings, clock
        self._known: dict[str, tuple[float, Versions | None]] = {}
        self._refused_at: dict[str, float] = {}

    def find(self, name: str) -> Versions:
        """Raises ApiError for a model that is unknown, not deployed, or cannot be looked up."""
        # A fixed list: nobody fills the cache or spends reads with names of their own.
        if name not in self._settings.models:
            raise ApiError(404, "unknown_model", f"no model {name[:63]!r}; GET /models lists what there is")
        versions = self._look_up(name)
        if versions is None:
            raise ApiError(404, "model_not_deployed", f"model {name!r} has no approved version")
        return versions

    def listing(self) -> list[dict[str, Any]]:
        """Every model that may be asked for: version and since when, None where none serves, and canary."""
        return [_entry(name, self._look_up(name)) for name in self._settings.models]

    def _look_up(self, name: str) -> Versions | None:
        now = self._clock()
        read_at, versions = self._known.get(name, (float("-inf"), None))
        age = now - read_at
        usable = age < self._settings.cache_seconds + self._settings.stale_seconds
        just_refused = now - self._refused_at.get(name, float("-inf")) < self._settings.cache_seconds
        fresh = self._settings.cache_seconds
        if age < (fresh if versions else min(fresh, ABSENT_SECONDS)) or (usable and just_refused):
            return versions
        try:
            versions = self._read(name)
        except (ClientError, BotoCoreError, *BROKEN, *_MISSHAPEN) as error:
            log("table not readable", model=name, error=str(error))
            self._refused_at[name] = self._clock()
            if usable:
                return versions
            message = "cannot look up which version serves; try again"
            raise ApiError(503, "not_ready", message, retry_after=5) from error
        self._known[name] = (now, versions)
        return versions

    def _read(self, name: str) -> Versions | None:
        answer = self._client.get_item(
            TableName=self._settings.table_name, Key={"group": {"S": name}}, ConsistentRead=True
        )
        item = answer.get("Item", {})
        serving, canary = _served(item, "serving"), _served(item, "canary")
        if serving is None:
            # The first version of a group has none beside it: it answers all requests.
            return Versions(serving=canary) if canary else None
        if canary is None:
            return Versions(serving=serving)
        return Versions(serving=serving, canary=canary, percent=int(item["canary"]["M"]["percent"]["N"]))


def _served(item: Mapping[str, Any], attribute: str) -> Served | None:
    if attribute not in item:
        return None
    members = item[attribute]["M"]
    return Served(
        version=int(members["version"]["N"]), artifact=members["artifact"]["S"], since=members["since"]["S"]
    )


def _entry(name: str, versions: Versions | None) -> dict[str, Any]:
    if versions is None:
        return {"model": name, "version": None, "since": None, "canary": None}
    serving, canary = versions.serving, versions.canary
    beside = canary and {"version": canary.version, "since": canary.since, "percent": versions.percent}
    return {"model": name, "version": serving.version, "since": serving.since, "canary": beside}
