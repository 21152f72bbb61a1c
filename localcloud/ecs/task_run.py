"""One task from its place to its end: images, secrets, logs, containers, exit codes.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from localcloud.aws import administrator, identity
from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.inside_client import InsideClient
from localcloud.aws.sessions import RoleSession
from localcloud.containers.engine import Container, ContainerRefusedError, ContainerSpec, Engine
from localcloud.containers.image import Image, ImageError, ImageStore
from localcloud.containers.registry import pull
from localcloud.context import Cloud, Credentials
from localcloud.ecs import definitions, logs, secrets
from localcloud.ecs.discovery import Discovery, HostNames, host_name
from localcloud.ecs.failure import TaskFailure
from localcloud.ecs.metadata import MetadataServer
from localcloud.ecs.names import Names, new_id
from localcloud.ecs.service import DEFINITION, TASK, TASKS_PRINCIPAL
from localcloud.sagemaker.store import Store, now

_log = logging.getLogger(__name__)
ESSENTIAL_EXITED = "Essential container in task exited"
_CLOSING_GRACE = 2.0
_LISTEN_SECONDS = 0.2
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What tasks are made with; `host_names` are the names that resolve in all of them, `heard` says whether
    ECS hears the agent of a task's host."""

    cloud: Cloud
    store: Store
    names: Names
    engine: Engine
    images: ImageStore
    discovery: Discovery
    metadata: MetadataServer
    host_names: Callable[[], HostNames]
    heard: Callable[[Mapping[str, Any]], bool]


class TaskRun:
    """Runs one task that has its place, on a thread of its own.

    Args:
        key: `CLUSTER/ID` of its record.
        ended: called last, with the key.
    """

    def __init__(self, parts: Parts, key: str, ended: Callable[[str], None]) -> None:
        self._parts, self._key, self._ended = parts, key, ended
        self._record = parts.store.get(TASK, key)
        self._id = key.rpartition("/")[2]
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._orphan = threading.Event()
        self._most_grace = float(definitions.MOST_STOP_TIMEOUT)
        self._containers: dict[str, Container] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}
        self._hosts: HostNames = {}
        self._offers: list[str] = []
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"task-{self._id[:8]}")

    def stop(self, most_grace: float = definitions.MOST_STOP_TIMEOUT) -> None:
        """End the containers, with at most that many seconds between SIGTERM and SIGKILL; returns at once."""
        if most_grace < self._most_grace:
            self._most_grace = most_grace
            if self._stopping.is_set() and most_grace == 0:
                for container in list(self._containers.values()):
                    threading.Thread(target=container.stop, args=(0,), daemon=True).start()
        self._stopping.set()
        self._wake.set()

    @property
    def host(self) -> str:
        """ARN of its container instance; empty on Fargate."""
        return str(self._record.get("containerInstanceArn", ""))

    def cut(self) -> None:
        """Its host is gone: the containers end at once, and nobody says so."""
        for container in list(self._containers.values()):
            threading.Thread(target=container.stop, args=(0,), daemon=True).start()

    def orphan(self) -> None:
        """ECS has forgotten its host: the containers go on, and the record is none of theirs any more."""
        self._orphan.set()
        self._wake.set()

    def processes(self) -> list[int]:
        """Of each container that runs, the first."""
        return [one.pid for one in list(self._containers.values()) if one.running and one.pid is not None]

    def name_hosts(self, names: HostNames) -> None:
        """Let the containers find these names."""
        self._hosts = names
        for name, container in list(self._containers.items()):
            container.name_hosts(self._hosts_of(self._settings[name]))

    def _run(self) -> None:
        try:
            try:
                self._start()
                self._watch()
                if self._orphan.is_set():
                    return
            except TaskFailure as failure:
                self._give_up(failure.reason)
            except Exception as error:
                _log.exception("task %s failed", self._id)
                self._give_up(f"InternalError: {error!r}")
            self._finish()
        except Exception:
            # The store may be gone when the cloud stops; the containers must not stay behind for that.
            _log.exception("task %s could not be ended in order", self._id)
        finally:
            for container in self._containers.values():
                container.remove()
            for token in self._offers:
                self._parts.metadata.withdraw(token)
            self._ended(self._key)

    def _update(self, change: Change) -> None:
        def apply(record: dict[str, Any]) -> None:
            if self._orphan.is_set():
                return  # ended, for ECS
            change(record)
            record["version"] += 1
            record["_updatedAt"] = now()

        self._record = self._parts.store.update(TASK, self._key, apply)

    def _status(self, status: str, **members: Any) -> None:
        self._update(lambda record: record.update(lastStatus=status, **members))

    def _give_up(self, reason: str) -> None:
        def change(record: dict[str, Any]) -> None:
            record.setdefault("stopCode", "TaskFailedToStart")
            record.setdefault("stoppedReason", reason)

        self._update(change)

    def _start(self) -> None:
        parts, record = self._parts, self._record
        definition = parts.store.get(DEFINITION, record["_definition"])
        containers = definitions.containers_of(definition, record["overrides"])
        self._settings = {container["name"]: container for container in containers}
        self._status("PENDING", pullStartedAt=now())
        execution = self._session("executionRoleArn", definition)
        task = self._session("taskRoleArn", definition)
        self._checked(execution, definition, "executionRoleArn")
        self._checked(task, definition, "taskRoleArn")
        role = record["overrides"].get("executionRoleArn") or definition.get("executionRoleArn", "")
        images = {name: self._image(each["image"], execution, role) for name, each in self._settings.items()}
        self._status("PENDING", pullStoppedAt=now())
        registries = record["_registries"]
        if registries:
            self._status("ACTIVATING")
        self._hosts = parts.host_names()
        for container in definitions.start_order(containers):
            if self._stopping.is_set():
                return
            self._await_needs(container)
            self._start_container(dict(container), images[container["name"]], execution, task)
        if self._orphan.is_set():
            return
        for registry in registries:
            parts.discovery.enter(record, registry)
        self._status("RUNNING", startedAt=now())

    def _session(self, member: str, definition: Mapping[str, Any]) -> RoleSession | None:
        role = self._record["overrides"].get(member) or definition.get(member)
        if not role:
            return None
        arn = self._parts.names.role(role)
        return RoleSession(
            partial(
                identity.assume_role,
                arn,
                service=TASKS_PRINCIPAL,
                session=self._id,
                source_arn=self._record["taskArn"],
            )
        )

    def _checked(self, session: RoleSession | None, definition: Mapping[str, Any], member: str) -> None:
        if session is None:
            return
        try:
            session()
        except RoleNotAssumable:
            role = self._record["overrides"].get(member) or definition.get(member)
            raise TaskFailure(
                f"ECS was unable to assume the role '{role}' that was provided for this task. Please "
                "verify that the role being passed has the proper trust relationship and permissions and "
                "that your IAM user has permissions to pass this role."
            ) from None

    def _acting(self, execution: RoleSession | None) -> Credentials:
        """Whose permissions it takes to pull: without an execution role the instance's, which has all."""
        return execution() if execution else administrator.credentials(self._parts.cloud.folder)

    def _image(self, uri: str, execution: RoleSession | None, role: str) -> Image:
        cloud = self._parts.cloud
        ecr: Any = (
            InsideClient(cloud, execution(), "ecr") if execution else cloud.client("ecr", self._acting(None))
        )
        try:
            return pull(uri, self._parts.images, ecr, account=cloud.account, role_arn=role, puller="ECS")
        except ImageError as error:
            raise TaskFailure(f"CannotPullContainerError: {error}") from error

    def _await_needs(self, container: Mapping[str, Any]) -> None:
        """Wait for what the container depends on; HEALTHY is START here, where no health is checked."""
        for need in container.get("dependsOn", ()):
            if need["condition"] not in ("COMPLETE", "SUCCESS"):
                continue
            other = self._containers[need["containerName"]]
            while (code := other.wait(0.1)) is None:
                if self._stopping.is_set():
                    raise TaskFailure("the task was stopped")
            if need["condition"] == "SUCCESS" and code:
                raise TaskFailure(f"DependencyFailed: {need['containerName']} exited with {code}")

    def _start_container(
        self, container: dict[str, Any], image: Image, execution: RoleSession | None, task: RoleSession | None
    ) -> None:
        name, cloud, runtime_id = container["name"], self._parts.cloud, new_id()
        log = logs.open_log(cloud, container, self._id, runtime_id, execution)
        values = (
            secrets.resolve(cloud, self._acting(execution), container) if container.get("secrets") else {}
        )
        if workdir := container.get("workingDirectory"):
            image = replace(image, workdir=workdir)
        made = self._parts.engine.create(f"{self._id[:12]}-{name}")
        self._containers[name] = made
        made.when_ended(self._wake.set)
        spec = ContainerSpec(
            image=image,
            entrypoint=container.get("entryPoint") or None,
            arguments=container.get("command", ()),
            environment=self._environment(container) | values | self._own(name),
            hostname=container.get("hostname") or host_name(self._record["_address"]),
            hosts=self._hosts_of(container),
            isolate_network=bool(container.get("disableNetworking")),
            credentials=task,
            stop_first_only=True,
        )
        if log is not None:
            log.write(self._notes(container, image))
        try:
            made.start(spec, log.write if log is not None else _drop)
        except ContainerRefusedError as error:
            raise TaskFailure(f"CannotStartContainerError: {error}") from error
        self._container(name, lastStatus="RUNNING", runtimeId=runtime_id, imageDigest=image.digest)

    def _own(self, container: str) -> dict[str, str]:
        variables, token = self._parts.metadata.offer(lambda: self._record, container)
        self._offers.append(token)
        return variables

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        given = {each["name"]: each.get("value", "") for each in container.get("environment", ())}
        kind = "AWS_ECS_FARGATE" if self._record["launchType"] == "FARGATE" else "AWS_ECS_EC2"
        return {**self._parts.cloud.environment(None), "AWS_EXECUTION_ENV": kind, **given}

    def _hosts_of(self, container: Mapping[str, Any]) -> HostNames:
        address = self._record["_address"]
        own = container.get("hostname") or host_name(address)
        extra = {each["hostname"]: [each["ipAddress"]] for each in container.get("extraHosts", ())}
        return {own: [address], **self._hosts, **extra}

    def _notes(self, container: Mapping[str, Any], image: Image) -> list[str]:
        lines = list(image.notes)
        ignored = [member for member in definitions.WITHOUT_EFFECT if container.get(member)]
        if ignored:
            lines.append(f"[local cloud] without effect here: {', '.join(ignored)}")
        if not self._parts.engine.isolates:
            lines.append(
                "[local cloud] this machine allows no mount namespaces: no names of Cloud Map resolve here"
            )
        return lines

    def _container(self, name: str, **members: Any) -> None:
        def change(record: dict[str, Any]) -> None:
            for each in record["containers"]:
                if each["name"] == name:
                    each.update(members)

        self._update(change)

    def _watch(self) -> None:
        """Return when the task is to end, by its own or somebody's will."""
        told: set[str] = set()
        while not self._stopping.is_set():
            self._wake.clear()
            for name, container in self._containers.items():
                code = container.wait(0)
                if code is None or name in told:
                    continue
                self._until_heard()
                if self._stopping.is_set():
                    return
                told.add(name)
                self._container(name, lastStatus="STOPPED", exitCode=code)
                if self._settings[name].get("essential", True):
                    self._update(_essential_exited)
                    return
            if not self._stopping.is_set():
                self._wake.wait()

    def _until_heard(self) -> None:
        """Nobody hears of an end from a host whose agent is not heard."""
        while not self._orphan.is_set() and not self._stopping.is_set():
            if self._parts.heard(self._parts.store.get(TASK, self._key)):
                return
            self._orphan.wait(_LISTEN_SECONDS)

    def _finish(self) -> None:
        was_running = self._record["lastStatus"] == "RUNNING"
        registries = self._record["_registries"] if was_running else []
        moment = now()
        first = "DEACTIVATING" if registries else "STOPPING"

        def change(record: dict[str, Any]) -> None:
            record.update(lastStatus=first, desiredStatus="STOPPED")
            record.setdefault("stoppingAt", moment)

        self._update(change)
        for registry in registries:
            self._parts.discovery.leave(self._record, registry)
        if registries:
            self._status("STOPPING")
        threads = [
            threading.Thread(target=container.stop, args=(self._grace(name),))
            for name, container in self._containers.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stopped = now()

        def end(record: dict[str, Any]) -> None:
            for each in record["containers"]:
                container = self._containers.get(each["name"])
                code = container.wait(0) if container is not None and container.pid is not None else None
                each["lastStatus"] = "STOPPED"
                if code is not None:
                    each["exitCode"] = code
            for attachment in record["attachments"]:
                attachment["status"] = "DELETED"
            record.setdefault("stopCode", "UserInitiated")
            record.setdefault("stoppedReason", "Task stopped by user")
            record.update(
                lastStatus="STOPPED", executionStoppedAt=stopped, stoppedAt=now(), connectivity="DISCONNECTED"
            )

        self._status("DEPROVISIONING")
        self._update(end)

    def _grace(self, name: str) -> float:
        wanted = self._settings[name].get("stopTimeout", definitions.DEFAULT_STOP_TIMEOUT)
        return min(float(wanted), self._most_grace)


def _drop(_lines: list[str]) -> None:
    """Without a log driver nobody keeps the output."""


def _essential_exited(record: dict[str, Any]) -> None:
    record.setdefault("stopCode", "EssentialContainerExited")
    record.setdefault("stoppedReason", ESSENTIAL_EXITED)
