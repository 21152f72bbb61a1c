"""How Spot takes a host of a cluster back: it says so ahead, in an event that is AWS's own, then it is gone.

Which, and when, `localcloud.ec2.interruptions` reads. Its agent stops taking tasks, if that is what the
group's user data tells it. When the time has passed it is gone with its tasks, and the group, which is to
have as many as before, gets another one; unless the file names it no more by then.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html

AWS's way to ask for it: https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws.events import emit
from localcloud.context import Cloud
from localcloud.ec2.interruptions import Wanted
from localcloud.ecs.hosts import WARNED
from localcloud.ecs.runner import Runner
from localcloud.ecs.service import HOST
from localcloud.sagemaker.store import NotFound, Store
from localcloud.ticking import Ticking

DETAIL_TYPE = "EC2 Spot Instance Interruption Warning"
_PAUSE_S = 0.5
_log = logging.getLogger(__name__)


class Interruptions(Ticking):
    """Carries out what the file says.

    Args:
        runner: Of the tasks, who knows the instances.
    """

    def __init__(self, cloud: Cloud, store: Store, runner: Runner) -> None:
        super().__init__("spot")
        self._cloud, self._store, self._runner = cloud, store, runner
        self._due: dict[str, float] = {}
        self._wanted = Wanted(cloud.folder)

    def pause(self) -> float:
        return _PAUSE_S

    def tick(self) -> None:
        try:
            wanted = self._wanted.seconds()
            for instance in [one for one, due in self._due.items() if one not in wanted and due < math.inf]:
                del self._due[instance]
            self._take_back(wanted)
            for instance, seconds in wanted.items():
                if instance not in self._due and (found := self._known(instance)):
                    self._due[instance] = time.monotonic() + seconds
                    self._warn(found)
            for instance in [name for name, due in self._due.items() if due <= time.monotonic()]:
                self._due[instance] = math.inf
                self._runner.lose(instance)
        except Exception:
            # One bad turn must not end all others.
            _log.exception("an interruption failed")

    def _take_back(self, wanted: Mapping[str, float]) -> None:
        """The hosts that drain of a notice which counts no more, also one of before a restart."""
        for host in self._store.query(HOST, where=lambda each: WARNED in each):
            instance = host["ec2InstanceId"]
            if instance not in wanted and instance not in self._due:
                self._change(host, _undrain)

    def _known(self, instance: str) -> dict[str, Any] | None:
        found = self._store.query(HOST, where=lambda each: each["ec2InstanceId"] == instance)
        return found[0] if found else None

    def _warn(self, host: dict[str, Any]) -> None:
        instance = host["ec2InstanceId"]
        if self._runner.hosts.drains(host) and not self._change(host, _drain):
            return  # it went by itself
        detail = {"instance-id": instance, "instance-action": "terminate"}
        # With the zone in the region's place, and no account: https://docs.aws.amazon.com/AWSEC2/latest/
        # UserGuide/spot-instance-termination-notices.html#ec2-spot-instance-interruption-warning-event
        arn = f"arn:aws:ec2:{host['_zone']}:instance/{instance}"
        _log.warning("Spot takes %s back", instance)
        emit(self._cloud, "aws.ec2", DETAIL_TYPE, detail, [arn])

    def _change(self, host: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> bool:
        """False where the record is gone."""
        identity = host["containerInstanceArn"].rpartition("/")[2]
        try:
            self._store.update(HOST, f"{host['_cluster']}/{identity}", change)
        except NotFound:
            return False
        return True


def _drain(record: dict[str, Any]) -> None:
    if record["status"] == "ACTIVE":  # else it was drained, or deregistered, by somebody: so it stays
        record.update({"status": "DRAINING", WARNED: True})


def _undrain(record: dict[str, Any]) -> None:
    if record.pop(WARNED, False) and record["status"] == "DRAINING":
        record["status"] = "ACTIVE"
