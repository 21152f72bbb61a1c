"""States of alarms, as services that watch them see them."""

from __future__ import annotations

from collections.abc import Iterable

from localcloud.context import Cloud


def states(cloud: Cloud, names: Iterable[str]) -> dict[str, str | None]:
    """The state of each alarm, metric or composite; None where there is no such alarm."""
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    with request_scope(cloud.account, cloud.region):
        found = {
            name: cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) for name in names
        }
    return {name: str(alarm["StateValue"]) if alarm else None for name, alarm in found.items()}
