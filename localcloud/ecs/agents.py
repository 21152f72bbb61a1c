"""Agents of container instances that ECS does not hear, as a fault says: the instance is there, and works on.

    [{"service": "ecs-agent", "path": "i-0123456789abcdef0"}]

`path` is part of the instance's id; all instances without one. While it lasts, nothing new is placed there,
nothing is told to end there, and what ends there nobody hears of: tasks stay as they were, with
`connectivity` DISCONNECTED. An instance that is terminated meanwhile stays registered, and its tasks with it,
until somebody deregisters it by force.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.faults import FaultFile

SERVICE = "ecs-agent"
ORPHANED = "Container instance deregistration forced by user."
# On the record of an instance that is gone and whose agent could not say so.
DEAD = "_dead"


class Agents:
    """Which agents ECS hears.

    Args:
        file: `StateFolder.faults`.
    """

    def __init__(self, file: Path) -> None:
        self._faults = FaultFile(file)

    def heard(self, host: Mapping[str, Any]) -> bool:
        """Whether that of an instance, a record of the store, is."""
        if host.get(DEAD):
            return False
        return not any(fault.fits(SERVICE, "", host["ec2InstanceId"]) for fault in self._faults.read())
