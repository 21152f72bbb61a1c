"""What starts and ends hosts that run; for all other instances the operations are MiniStack's own."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.aws import callers
from localcloud.aws.errors import AccessDenied, RoleNotFound
from localcloud.ec2 import authorization
from localcloud.ec2.authorization import text
from localcloud.ec2.fleet import MARK, Fleet
from localcloud.ec2.template import Launch, LaunchError, data_of, launch, runs

_MOST = 8  # at once, and each is a few processes
_ENDED = ("terminated", "shutting-down", "stopped", "stopping")


class Instances:
    """Takes the place of the operations."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        # By token: what was asked for, and the instances.
        self._tokens: dict[str, tuple[dict[str, str], list[str]]] = {}
        self._lock = threading.Lock()

    def install(self) -> None:
        """Serve them from now on, off the server's loop, since a start may wait for processes."""
        from ministack.services import ec2

        handle, xml = ec2.handle_request, ec2._instance_xml
        actions: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "RunInstances": self._run,
            **{name: functools.partial(self._change, name) for name in authorization.OF_INSTANCES},
        }
        original = {name: ec2._ACTION_MAP[name] for name in actions}

        def take(name: str, parameters: Mapping[str, Any]) -> Any:
            return actions[name](parameters) or _dry_run(parameters) or original[name](parameters)

        async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
            if any(f"Action={name}".encode() in (body or b"") for name in actions):
                # What `handle` does, in a thread.
                call = functools.partial(asyncio.run, handle(method, path, headers, body, query))
                return await asyncio.to_thread(call)
            return await handle(method, path, headers, body, query)

        def instance_xml(record: Mapping[str, Any]) -> str:
            more = ""
            if "InstanceLifecycle" in record:
                more += f"<instanceLifecycle>{record['InstanceLifecycle']}</instanceLifecycle>"
            if reason := record.get("StateReason"):
                code, _, _words = reason.partition(":")
                more += f"<stateReason><code>{code}</code><message>{ec2._esc(reason)}</message></stateReason>"
            head, _, _end = str(xml(record)).rpartition("</item>")
            return f"{head}{more}</item>"

        for name in actions:
            ec2._ACTION_MAP[name] = functools.partial(take, name)
        ec2.handle_request, ec2._instance_xml = handle_request, instance_xml

    def _run(self, parameters: Mapping[str, Any]) -> Any:
        """An answer; None where no host is asked for."""
        from ministack.services import ec2

        template = authorization.template_of(parameters)
        if not template:
            return None
        try:
            data, version = data_of(template, text(parameters, "LaunchTemplate.Version"))
            if not runs(data):
                return None
            return self._start(launch(template, version, data, parameters), parameters)
        except LaunchError as error:
            return ec2._error(error.code, str(error), 400)
        except RoleNotFound as error:
            return ec2._error("InvalidParameterValue", str(error), 400)
        except AccessDenied as denied:
            return ec2._error("UnauthorizedOperation", denied.message, 403)

    def _start(self, wanted: Launch, parameters: Mapping[str, Any]) -> Any:
        from ministack.services import ec2

        count = int(text(parameters, "MaxCount") or "1")
        if not 1 <= int(text(parameters, "MinCount") or "1") <= count <= _MOST:
            raise LaunchError(
                "InvalidParameterValue", f"MinCount and MaxCount must be from 1 to {_MOST} here."
            )
        if (caller := callers.current("ec2")) is not None:
            authorization.require_launch(callers.identity_of(caller), wanted)
        if dry := _dry_run(parameters):
            return dry
        if self._fleet.refusal:
            raise LaunchError(
                "UnsupportedOperation", f"The local cloud cannot run a host: {self._fleet.refusal}"
            )
        token = text(parameters, "ClientToken")
        with self._lock:
            asked = {name: text(parameters, name) for name in sorted(parameters)}
            known = self._tokens.get(token) if token else None
            if known and known[0] != asked:
                # https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
                raise LaunchError(
                    "IdempotentParameterMismatch", f"The client token {token} was used with other parameters."
                )
            records = [ec2._instances[name] for name in known[1] if name in ec2._instances] if known else []
            if not known:
                records = self._records(wanted, count)
                if token:
                    self._tokens[token] = asked, [one["InstanceId"] for one in records]
                for record in records:
                    self._fleet.start(record, wanted.role_arn, tokens_required=wanted.tokens_required)
        items = "".join(ec2._instance_xml(one) for one in records)
        inner = (
            f"<instancesSet>{items}</instancesSet><reservationId>{ec2._new_instance_id().replace('i-', 'r-')}"
            f"</reservationId><ownerId>{ec2.get_account_id()}</ownerId><groupSet/>"
        )
        return ec2._xml(200, "RunInstancesResponse", inner)

    def _records(self, wanted: Launch, count: int) -> list[dict[str, Any]]:
        from ministack.services import ec2

        made: list[dict[str, Any]] = ec2._launch_instances_internal(
            image_id=wanted.image_id,
            instance_type=wanted.instance_type,
            subnet_id=wanted.subnet_id,
            count=count,
            user_data=wanted.user_data,
            sg_ids=list(wanted.group_ids),
            iam_profile=dict(wanted.profile) or None,
        )
        zone = ec2._subnets[wanted.subnet_id].get("AvailabilityZone")
        own = {
            "aws:ec2launchtemplate:id": wanted.template_id,
            "aws:ec2launchtemplate:version": wanted.version,
        }
        for record in made:
            # In an isolated subnet no host has a public name.
            record |= {"PublicIpAddress": "", "PublicDnsName": "", MARK: True}
            record["State"] = {"Code": 0, "Name": "pending"}
            record["InstanceInitiatedShutdownBehavior"] = wanted.shutdown
            if zone:
                record["Placement"]["AvailabilityZone"] = zone
            if wanted.spot:
                record["InstanceLifecycle"] = "spot"
            ec2._tags[record["InstanceId"]] = _tags({**wanted.tags.get("instance", {}), **own})
            volume = record["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
            ec2._volumes[volume] |= {"Size": wanted.volume_gib, "Encrypted": bool(wanted.key_arn)}
            if wanted.key_arn:
                ec2._volumes[volume]["KmsKeyId"] = wanted.key_arn
            ec2._tags[volume] = _tags(wanted.tags.get("volume", {}))
        return made

    def _change(self, action: str, parameters: Mapping[str, Any]) -> Any:
        """An answer; None where no host is among the instances."""
        from ministack.services import ec2

        names: list[str] = ec2._parse_member_list(parameters, "InstanceId")
        try:
            authorization.require_others(action, names, text(parameters, "InstanceId.1"))
        except AccessDenied as denied:
            return ec2._error("UnauthorizedOperation", denied.message, 403)
        if not any(self._fleet.knows(name) or _was_host(name) for name in names):
            return None
        for name in names:
            if name not in ec2._instances:
                return ec2._error(
                    "InvalidInstanceID.NotFound", f"The instance ID '{name}' does not exist", 400
                )
        if refused := _refusal(action, names):
            return ec2._error("UnsupportedOperation", refused, 400)
        if dry := _dry_run(parameters):
            return dry
        items = ""
        for name in names:
            before = dict(ec2._instances[name]["State"])
            self._end(name, before["Name"], stop=action == "StopInstances")
            now = ec2._instances[name]["State"]
            items += f"<item><instanceId>{name}</instanceId>{_state('previousState', before)}"
            items += f"{_state('currentState', now)}</item>"
        return ec2._xml(200, f"{action}Response", f"<instancesSet>{items}</instancesSet>")

    def _end(self, name: str, before: str, *, stop: bool) -> None:
        from ministack.services import ec2

        if self._fleet.knows(name):
            self._fleet.end(name, stop=stop, reason="Client.UserInitiatedShutdown: User initiated shutdown")
        elif stop and before not in _ENDED:
            ec2._instances[name]["State"] = {"Code": 80, "Name": "stopped"}
        elif not stop and before not in ("terminated", "shutting-down"):
            ec2._instances[name]["State"] = {"Code": 48, "Name": "terminated"}


def _dry_run(parameters: Mapping[str, Any]) -> Any:
    """The answer to a request that only asks whether it may; None for any other.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
    """
    from ministack.services import ec2

    if text(parameters, "DryRun").lower() != "true":
        return None
    return ec2._error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def _refusal(action: str, names: list[str]) -> str | None:
    """Why hosts do not change so."""
    from ministack.services import ec2

    if action in ("StartInstances", "RebootInstances"):
        return "The local cloud starts no host again: start another one from its template."
    if action == "TerminateInstances":
        return None
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/stop-spot-instances.html
    spot = [name for name in names if ec2._instances[name].get("InstanceLifecycle") == "spot"]
    return f"{spot[0]} is of a one-time Spot request: it can be terminated, not stopped." if spot else None


def _was_host(name: str) -> bool:
    from ministack.services import ec2

    return bool((ec2._instances.get(name) or {}).get(MARK))


def _state(name: str, state: Mapping[str, Any]) -> str:
    return f"<{name}><code>{state['Code']}</code><name>{state['Name']}</name></{name}>"


def _tags(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in pairs.items()]
