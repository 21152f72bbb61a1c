"""The hosts of one cloud, and their records in MiniStack's EC2.

A host whose cloud ended is terminated at the next start: nothing runs behind its record any more.
"""

from __future__ import annotations

import functools
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws import identity
from localcloud.aws.errors import AccessDenied, RoleNotAssumable
from localcloud.aws.sessions import RoleSession
from localcloud.containers.engine import Engine
from localcloud.containers.network import NetworkError
from localcloud.context import Cloud
from localcloud.ec2.host import Calls, Host, HostSpec
from localcloud.ec2.interruptions import Notices

_log = logging.getLogger(__name__)
PRINCIPAL = "ec2.amazonaws.com"
MARK = "_modelyard_host"
# What the agent does when it starts.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
_AGENT_ACTIONS = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
_LOOK_SECONDS = 1.0
Heard = Callable[[str, Mapping[str, Any]], None]


class Fleet:
    """Starts hosts and ends them.

    Args:
        heard: what a host's agent says of a command: instance and message.
    """

    def __init__(self, cloud: Cloud, heard: Heard) -> None:
        folder = cloud.folder.containers / "hosts"
        shutil.rmtree(folder, ignore_errors=True)
        self._cloud, self._heard = cloud, heard
        self._engine = Engine(folder, cloud)
        self._hosts: dict[str, Host] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._notices = Notices(cloud.folder)

    @functools.cached_property
    def refusal(self) -> str | None:
        """Why this machine runs no hosts; None where it does."""
        if not self._engine.isolates:
            return "this machine allows no namespaces (unshare --mount --net)"
        try:
            self._engine.network().close()
        except NetworkError as error:
            return str(error)
        return None

    def start(self, instance: dict[str, Any], role_arn: str, *, tokens_required: bool) -> None:
        """Start what a new record stands for, on a thread; the record says `running` once it does."""
        session = self._session(instance["InstanceId"], role_arn) if role_arn else None
        spec = HostSpec(
            instance_id=instance["InstanceId"],
            address=instance["PrivateIpAddress"],
            name=instance["PrivateDnsName"].partition(".")[0],
            user_data=instance["UserData"],
            role_arn=role_arn,
            tokens_required=tokens_required,
        )
        calls = Calls(
            facts=functools.partial(self._facts, instance),
            heard=functools.partial(self._hear, spec, session),
            shut_down=functools.partial(self.end, spec.instance_id, stop=_stops(instance)),
        )
        host = Host(self._cloud, self._engine, spec, session, calls)
        with self._lock:
            self._hosts[spec.instance_id] = host
        threading.Thread(target=self._boot, args=(host,), daemon=True, name="host-boot").start()

    def _boot(self, host: Host) -> None:
        name = host.spec.instance_id
        try:
            host.start()
        except Exception as error:
            _log.exception("the host %s could not be started", name)
            self.end(name, reason=f"Server.InternalError: {error}")
            return
        self._state(name, 16, "running", only_from="pending")
        while not self._closed.wait(_LOOK_SECONDS) and name in self._hosts:
            # Spot takes a host two minutes after it said so.
            if self._notices.due(name):
                self.end(name, reason="Server.SpotInstanceTermination: Spot instance termination")

    def _session(self, instance_id: str, role_arn: str) -> RoleSession:
        return RoleSession(
            functools.partial(identity.assume_role, role_arn, service=PRINCIPAL, session=instance_id)
        )

    def _hear(self, spec: HostSpec, session: RoleSession | None, message: dict[str, Any]) -> None:
        if "user_data" in message:
            threading.Thread(target=self._register, args=(spec, session), daemon=True).start()
        else:
            self._heard(spec.instance_id, message)

    def _register(self, spec: HostSpec, session: RoleSession | None) -> None:
        """Make the host known to SSM, as soon as its role may do what the agent does."""
        arn = f"arn:aws:ec2:{self._cloud.region}:{self._cloud.account}:instance/{spec.instance_id}"
        while session is not None and spec.instance_id in self._hosts:
            try:
                identity.require_of(self._cloud, session(), "ssm:UpdateInstanceInformation", arn)
                for action in _AGENT_ACTIONS:
                    identity.require_of(self._cloud, session(), action)
            except (AccessDenied, RoleNotAssumable):
                # The agent tries again, for as long as it runs.
                if self._closed.wait(_LOOK_SECONDS):
                    return
                continue
            if (record := self._record(spec.instance_id)) is not None:
                record["_ssm_managed"] = True
            return

    def command(self, instance_id: str, command_id: str, script: str, seconds: float) -> None:
        """Let a host run a script; ConnectionError when it is gone."""
        host = self._hosts.get(instance_id)
        if host is None:
            raise ConnectionError(f"{instance_id} is gone")
        host.command(command_id, script, seconds)

    def knows(self, instance_id: str) -> bool:
        """Whether a host runs behind the record, or is about to."""
        return instance_id in self._hosts

    def end(self, instance_id: str, *, stop: bool = False, reason: str = "") -> None:
        """End a host; returns at once, the record says `shutting-down` until it is gone."""
        with self._lock:
            host = self._hosts.pop(instance_id, None)
        if host is None:
            return
        transition, final = (
            ((64, "stopping"), (80, "stopped")) if stop else ((32, "shutting-down"), (48, "terminated"))
        )
        self._state(instance_id, *transition, reason=reason)

        def work() -> None:
            host.end()
            self._state(instance_id, *final)

        threading.Thread(target=work, daemon=True, name="host-end").start()

    def _state(
        self, instance_id: str, code: int, name: str, *, only_from: str = "", reason: str = ""
    ) -> None:
        record = self._record(instance_id)
        if record is None or (only_from and record["State"]["Name"] != only_from):
            return
        record["State"] = {"Code": code, "Name": name}
        if reason:
            record["StateReason"] = reason
        if name != "running":
            record.pop("_ssm_managed", None)
        if name == "terminated":
            record["_terminated_at"] = time.time()

    def _record(self, instance_id: str) -> dict[str, Any] | None:
        """MiniStack's, to be changed in place. Threads here have no request that names account and region."""
        from ministack.core.responses import request_scope
        from ministack.services import ec2

        with request_scope(self._cloud.account, self._cloud.region):
            found: dict[str, Any] | None = ec2._instances.get(instance_id)
        return found

    def _facts(self, instance: Mapping[str, Any]) -> dict[str, str]:
        zone = instance["Placement"]["AvailabilityZone"]
        facts = {
            "_account": self._cloud.account,
            "ami-id": instance["ImageId"],
            "instance-id": instance["InstanceId"],
            "instance-type": instance["InstanceType"],
            "instance-life-cycle": instance.get("InstanceLifecycle", "on-demand"),
            "hostname": instance["PrivateDnsName"],
            "local-hostname": instance["PrivateDnsName"],
            "local-ipv4": instance["PrivateIpAddress"],
            "placement/availability-zone": zone,
            "placement/region": self._cloud.region,
            "services/domain": "amazonaws.com",
        }
        return facts | self._notices.facts(instance["InstanceId"])

    def end_interrupted(self) -> None:
        """Records of the last run."""
        from ministack.services import ec2

        for record in ec2._instances.all_values():
            if record.get(MARK) and record["State"]["Name"] not in ("terminated", "stopped"):
                record["State"] = {"Code": 48, "Name": "terminated"}
                record["_terminated_at"] = time.time()
                record.pop("_ssm_managed", None)

    def close(self) -> None:
        """End all hosts; none starts afterwards."""
        self._closed.set()
        with self._lock:
            hosts = list(self._hosts.values())
            self._hosts.clear()
        threads = [threading.Thread(target=host.end) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self._engine.close()
        self.end_interrupted()


def _stops(instance: Mapping[str, Any]) -> bool:
    return bool(instance.get("InstanceInitiatedShutdownBehavior", "stop") == "stop")
