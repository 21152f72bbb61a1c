"""`SendCommand` to hosts that run. MiniStack keeps the records and shows them; its own hosts are containers.

A command to a host that is gone meanwhile stays in progress; on AWS until its time is up, here for good.
https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.aws import callers
from localcloud.aws.errors import AccessDenied
from localcloud.aws.identity import require
from localcloud.context import Cloud
from localcloud.ec2.authorization import tags_of
from localcloud.ec2.documents import DocumentError, find, script_of
from localcloud.ec2.fleet import Fleet
from localcloud.sagemaker.store import Store

_log = logging.getLogger(__name__)
_PLUGIN = "aws:runShellScript"


class RunCommand:
    """Takes the place of the operation for instances of the fleet."""

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store
        self._running: dict[tuple[str, str], tuple[dict[str, Any], float]] = {}
        self._lock = threading.Lock()

    def install(self, fleet: Fleet) -> None:
        """Serve it from now on."""
        from ministack.core.responses import error_response_json
        from ministack.services import ssm

        original = ssm._send_command

        def send_command(data: dict[str, Any]) -> Any:
            names = ssm._command_target_ids(data)
            try:
                if not any(_is_ours(name) for name in names):
                    self._require(names)
                    return original(data)
                return self._send(fleet, names, data)
            except AccessDenied as denied:
                return error_response_json("AccessDeniedException", denied.message, 400)
            except DocumentError as error:
                return error_response_json(error.code, str(error), 400)

        ssm._send_command = send_command

    def _require(self, names: list[str]) -> None:
        """The gate asked about the document; each host is asked about besides, with its tags."""
        checked = callers.current("ssm")
        if checked is None:
            return
        caller = callers.identity_of(checked)
        for name in names:
            arn = f"arn:aws:ec2:{caller.region}:{caller.account}:instance/{name}"
            require(caller, "ssm:SendCommand", arn, tags_of(name, "ssm", "aws"))

    def _send(self, fleet: Fleet, names: list[str], data: Mapping[str, Any]) -> Any:
        from ministack.core.responses import json_response
        from ministack.services import ec2, ssm

        document = str(data["DocumentName"])
        self._require(names)
        step, script, seconds = script_of(
            find(self._store, document, self._cloud.region, self._cloud.account), data.get("Parameters") or {}
        )
        away = [name for name in names if not ec2.instance_is_managed(name)]
        if away:
            raise DocumentError(
                "InvalidInstanceId",
                f"Instances [[{', '.join(away)}]] not in a valid state for account {self._cloud.account}",
            )
        command = str(uuid.uuid4())
        invocations = {name: _invocation(command, name, document, step, data) for name in names}
        record = _record(command, document, names, data) | {"Invocations": invocations}
        told = ssm._public_command(record)
        record |= {"Status": "InProgress", "StatusDetails": "InProgress"}
        ssm._commands[command] = record
        for name, invocation in invocations.items():
            with self._lock:
                self._running[command, name] = record, time.monotonic()
            # Before it is told: its answer may be there at once.
            before = dict(invocation)
            invocation |= {"Status": "InProgress", "StatusDetails": "InProgress"}
            invocation["ExecutionStartDateTime"] = _moment()
            try:
                fleet.command(name, command, script, seconds)
            except OSError:
                # It left between the question and the command: never delivered.
                invocation.update(before)
        return json_response({"Command": told})

    def heard(self, instance_id: str, message: Mapping[str, Any]) -> None:
        """A host's agent tells how a command ended."""
        from ministack.services import ssm

        with self._lock:
            found = self._running.pop((message["command"], instance_id), None)
        if found is None:
            _log.warning("%s ended a command that nobody sent", instance_id)
            return
        record, started = found
        invocation = record["Invocations"][instance_id]
        status = "TimedOut" if message["timed_out"] else "Failed" if message["code"] else "Success"
        spent = time.monotonic() - started
        invocation |= {
            "ResponseCode": message["code"],
            "StandardOutputContent": message["out"],
            "StandardErrorContent": message["err"],
            "ExecutionEndDateTime": _moment(),
            "ExecutionElapsedTime": f"PT{spent:.3f}S",
            "StatusDetails": "Execution Timed Out" if status == "TimedOut" else status,
            # Last: whoever sees it sees all else.
            "Status": status,
        }
        ssm._refresh_command_status(record)


def _is_ours(name: str) -> bool:
    from ministack.services import ec2

    from localcloud.ec2.fleet import MARK

    return bool((ec2._instances.get(name) or {}).get(MARK))


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _invocation(command: str, name: str, document: str, step: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "CommandId": command,
        "InstanceId": name,
        "Comment": data.get("Comment", ""),
        "DocumentName": document,
        "DocumentVersion": data.get("DocumentVersion", "$DEFAULT"),
        "PluginName": step or _PLUGIN,
        # It has not ended.
        "ResponseCode": -1,
        "ExecutionStartDateTime": "",
        "ExecutionElapsedTime": "",
        "ExecutionEndDateTime": "",
        "Status": "Pending",
        "StatusDetails": "Pending",
        "StandardOutputContent": "",
        "StandardOutputUrl": "",
        "StandardErrorContent": "",
        "StandardErrorUrl": "",
    }


def _record(command: str, document: str, names: list[str], data: Mapping[str, Any]) -> dict[str, Any]:
    moment, delivery = time.time(), int(data.get("TimeoutSeconds", 3600))
    return {
        "CommandId": command,
        "DocumentName": document,
        "DocumentVersion": data.get("DocumentVersion", "$DEFAULT"),
        "Comment": data.get("Comment", ""),
        "ExpiresAfter": moment + delivery,
        "Parameters": data.get("Parameters", {}),
        "InstanceIds": names,
        "Targets": data.get("Targets", []),
        "RequestedDateTime": moment,
        "Status": "Pending",
        "StatusDetails": "Pending",
        "MaxConcurrency": data.get("MaxConcurrency", "50"),
        "MaxErrors": data.get("MaxErrors", "0"),
        "TargetCount": len(names),
        "CompletedCount": 0,
        "ErrorCount": 0,
        "DeliveryTimedOutCount": 0,
        "TimeoutSeconds": delivery,
    }
