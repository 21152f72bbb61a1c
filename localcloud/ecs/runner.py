"""Places tasks on instances, runs them, and ends them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.containers.engine import Engine
from localcloud.containers.image import ImageStore
from localcloud.context import Cloud
from localcloud.ecs import definitions
from localcloud.ecs.agents import ORPHANED
from localcloud.ecs.discovery import Addresses, Discovery, HostNames, host_name, private_dns_name
from localcloud.ecs.hosts import FARGATE, INACTIVE, Hosts, managed
from localcloud.ecs.metadata import MetadataServer
from localcloud.ecs.names import Names, new_id
from localcloud.ecs.placement import choose
from localcloud.ecs.records import new_task
from localcloud.ecs.service import CLUSTER, HOST, PROVIDER, TASK
from localcloud.ecs.task_run import Parts, TaskRun
from localcloud.sagemaker.store import Store, now

CLOSED = "The local cloud was stopped while the task ran."
NO_CAPACITY = (
    "Capacity is unavailable at this time. Please try again later or in a different availability zone"
)
_MOST_FARGATE = 32
_WAIT_SECONDS = 900.0
_KEPT_SECONDS = 3600.0
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks that somebody wants, all of one kind.

    Args:
        cluster, definition: their records.
        targets: for each task its capacity provider, or None with a launch type.
        launch_type: `EC2` or `FARGATE`; of tasks with a provider it follows from that.
        registries: `serviceRegistries` of a service.
    """

    cluster: dict[str, Any]
    definition: dict[str, Any]
    targets: Sequence[str | None]
    launch_type: str
    group: str
    started_by: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    constraints: Sequence[Mapping[str, Any]] = ()
    strategy: Sequence[Mapping[str, Any]] = ()
    network: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[Mapping[str, str]] = ()
    registries: Sequence[Mapping[str, Any]] = ()
    execute_command: bool = False


class Runner:
    """The tasks of one cloud.

    Example:
        >>> tasks, failures = runner.run(plan)
        >>> runner.stop("training/0123...", "no longer needed", "UserInitiated")
    """

    def __init__(self, cloud: Cloud, store: Store, names: Names, most_hosts: int) -> None:
        folder = cloud.folder.containers / "tasks"
        shutil.rmtree(folder, ignore_errors=True)
        self._cloud, self._store, self._names = cloud, store, names
        self._engine = Engine(folder, cloud)
        self.discovery = Discovery(cloud)
        self._parts = Parts(
            cloud=cloud,
            store=store,
            names=names,
            engine=self._engine,
            images=ImageStore(cloud.folder.images),
            discovery=self.discovery,
            metadata=MetadataServer(),
            host_names=self._host_names,
            heard=self.heard,
        )
        self.hosts = Hosts(cloud, store, names, most_hosts, self.active)
        self._addresses = Addresses()
        self._lock = threading.RLock()
        self._running: dict[str, TaskRun] = {}
        # Ended tasks stay in the store for an hour, and there may be thousands.
        self._active: dict[str, None] = {}
        self._known: HostNames = {}
        self._closed = False

    def active(self, where: Any = None) -> list[dict[str, Any]]:
        """Tasks that have not ended, oldest first."""
        found = (self._store.find(TASK, key) for key in list(self._active))
        return [
            task
            for task in found
            if task is not None and task["lastStatus"] != "STOPPED" and (where is None or where(task))
        ]

    def run(self, plan: Plan) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Start tasks as far as there is room: their records, and a failure for each that has no place.

        A task for a group that ECS scales waits for its place instead.
        """
        tasks: list[dict[str, Any]] = []
        failures: list[dict[str, str]] = []
        with self._lock:
            self.refresh(plan.cluster)
            for provider in plan.targets:
                key = self._create(plan, provider)
                refused = self._place(key)
                if refused is None or self._may_wait(provider):
                    tasks.append(self._store.get(TASK, key))
                    continue
                self._store.delete(TASK, key)
                del self._active[key]
                failures += refused
        # One failure an instance says all, however many tasks have no place.
        return tasks, [dict(pairs) for pairs in dict.fromkeys(tuple(failure.items()) for failure in failures)]

    def _create(self, plan: Plan, provider: str | None) -> str:
        cluster, identity = plan.cluster["clusterName"], new_id()
        used = [task["_address"] for task in self.active()]
        fargate = plan.launch_type == "FARGATE" if provider is None else provider in FARGATE
        record = new_task(
            self._names,
            cluster,
            identity,
            definition=plan.definition,
            overrides=plan.overrides,
            address=self._addresses.take(used),
            zone=f"{self._cloud.region}a",
            network=plan.network.get("awsvpcConfiguration", {}),
        )
        demand = definitions.demand_of(plan.definition, plan.overrides, plan.group, plan.constraints)
        record |= {
            "group": plan.group,
            "launchType": "FARGATE" if fargate else "EC2",
            "tags": list(plan.tags),
            "enableExecuteCommand": plan.execute_command,
            "_demand": definitions.demand_record(demand),
            "_strategy": list(plan.strategy),
            "_registries": list(plan.registries),
            "_placed": False,
        }
        record |= {"startedBy": plan.started_by} if plan.started_by else {}
        record |= {"capacityProviderName": provider} if provider else {}
        record |= {"platformVersion": "1.4.0", "platformFamily": "Linux"} if fargate else {}
        key = f"{cluster}/{identity}"
        self._store.create(TASK, key, record)
        self._active[key] = None
        return key

    def _may_wait(self, provider: str | None) -> bool:
        found = self._store.find(PROVIDER, provider) if provider else None
        return found is not None and managed(found)

    def _place(self, key: str) -> list[dict[str, str]] | None:
        """Give a task its place and start it; without one, why."""
        task = self._store.get(TASK, key)
        provider = task.get("capacityProviderName")
        placed: dict[str, Any] = {"_placed": True}
        if task["launchType"] == "FARGATE":
            running = self.active(lambda each: each["_placed"] and each["launchType"] == "FARGATE")
            if len(running) >= _MOST_FARGATE:
                return [{"reason": NO_CAPACITY}]
        else:
            demand = definitions.demand_from(task["_demand"])
            cluster = self._store.get(CLUSTER, task["_cluster"])
            host, reasons = choose(self._usable(task, provider), demand, task["_strategy"])
            if host is None and provider and self.hosts.grow(cluster, provider, demand):
                host, reasons = choose(self._usable(task, provider), demand, task["_strategy"])
            if host is None:
                none = (
                    [{"reason": "RESOURCE:*"}]
                    if provider
                    else [{"reason": "No Container Instances were found."}]
                )
                return [{"arn": arn, "reason": reason} for arn, reason in reasons.items()] or none
            placed |= {"containerInstanceArn": host.arn, "availabilityZone": host.zone}
        self._store.update(TASK, key, lambda record: record.update(placed))
        run = TaskRun(self._parts, key, self._forget)
        self._running[key] = run
        run.thread.start()
        return None

    def _usable(self, task: Mapping[str, Any], provider: str | None) -> Any:
        return self.hosts.usable(task["_cluster"], provider)

    def _host_names(self) -> HostNames:
        """Names of Cloud Map, and of the tasks themselves, as a VPC's resolver has both."""
        found = self.discovery.names()
        for task in self.active():
            address = task["_address"]
            found |= {host_name(address): [address], private_dns_name(address, self._cloud.region): [address]}
        return found

    def _forget(self, key: str) -> None:
        with self._lock:
            self._running.pop(key, None)
            self._active.pop(key, None)

    def processes(self, key: str) -> list[int]:
        """The first process of each container of a task that runs."""
        run = self._running.get(key)
        return run.processes() if run is not None else []

    def refresh(self, cluster: dict[str, Any]) -> None:
        """Take over what has become of the instances: tasks of those that are gone end with them."""
        with self._lock:
            instances = {
                each["containerInstanceArn"]: each["ec2InstanceId"]
                for each in self.hosts.records(cluster["clusterName"])
            }
            for arn in self.hosts.refresh(cluster):
                # Of a host that is still registered nobody hears that it is gone.
                if not self._store.find(
                    HOST, self._names.key(cluster["clusterName"], arn, "container-instance")
                ):
                    reason = f"Host EC2 (instance {instances[arn]}) terminated."
                    for task in self.active(lambda each, arn=arn: each.get("containerInstanceArn") == arn):
                        self.stop(key_of(task), reason, "TerminationNotice", most_grace=0)
                # After the reason: an end that is seen first would be one of the task's own.
                for run in list(self._running.values()):
                    if run.host == arn:
                        run.cut()

    def lose(self, instance: str) -> None:
        """Spot takes an instance; its tasks end when somebody looks, within a second."""
        with self._lock:
            self.hosts.lose(instance)

    def heard(self, task: Mapping[str, Any]) -> bool:
        """Whether ECS hears the agent of a task's host; Fargate's always."""
        if task["lastStatus"] == "STOPPED" or not (arn := task.get("containerInstanceArn")):
            return True
        found = self._store.find(HOST, self._names.key(task["_cluster"], arn, "container-instance"))
        return found is None or self.hosts.agents.heard(found)

    def deregister(self, key: str, *, by_force: bool) -> bool:
        """Forget an instance, by force with its tasks; False where it has some and this is not by force."""
        with self._lock:
            arn = self._names.arn("container-instance", key)
            tasks = self.active(lambda each: each.get("containerInstanceArn") == arn)
            if tasks and not by_force:
                return False
            for task in tasks:
                run = self._running.get(key_of(task))
                if run is not None:
                    run.orphan()
                self._store.update(TASK, key_of(task), _orphaned)
                self._active.pop(key_of(task), None)
            self._store.update(HOST, key, lambda record: record.update(status=INACTIVE))
            return True

    def look_around(self) -> None:
        """Place tasks that wait, let names be found, take idle instances away, forget old tasks."""
        with self._lock:
            if self._closed:
                return
            for cluster in self._store.query(CLUSTER, where=lambda each: each["status"] == "ACTIVE"):
                self.refresh(cluster)
                self.hosts.shrink(cluster, self._cloud.clock)
            for task in self.active(lambda each: each["_placed"] and each["desiredStatus"] == "STOPPED"):
                # The agent may have come back.
                if (run := self._running.get(key_of(task))) is not None and self.heard(task):
                    run.stop()
            for task in self.active(lambda each: not each["_placed"] and each["desiredStatus"] == "RUNNING"):
                if self._place(key_of(task)) is not None and now() - task["createdAt"] > _WAIT_SECONDS:
                    self.stop(key_of(task), NO_CAPACITY, "TaskFailedToStart")
            names = self._host_names()
            if names != self._known:
                self._known = names
                for run in self._running.values():
                    run.name_hosts(names)
            ended = lambda task: task["lastStatus"] == "STOPPED" and now() - task["stoppedAt"] > _KEPT_SECONDS  # noqa: E731
            for task in self._store.query(TASK, where=ended):
                self._store.delete(TASK, key_of(task))

    def stop(
        self, key: str, reason: str, code: str, most_grace: float = definitions.MOST_STOP_TIMEOUT
    ) -> None:
        """End a task; the first reason stays. One that has ended is left as it is."""
        moment = now()

        def change(record: dict[str, Any]) -> None:
            if record["lastStatus"] == "STOPPED":
                return
            record.setdefault("stopCode", code)
            record.setdefault("stoppedReason", reason)
            if record["desiredStatus"] != "STOPPED":
                record.update(desiredStatus="STOPPED", stoppingAt=moment, version=record["version"] + 1)
                record["_updatedAt"] = moment
            if not record["_placed"]:
                _end(record)

        with self._lock:
            changed = self._store.update(TASK, key, change)
            ended = changed["lastStatus"] == "STOPPED"
            run = self._running.get(key)
            if ended and run is None:
                self._active.pop(key, None)
        if run is not None and (self._closed or self.heard(changed)):
            run.stop(most_grace)

    def end_interrupted(self) -> None:
        """Tasks of the last run have no process any more."""

        def change(record: dict[str, Any]) -> None:
            record.setdefault("stopCode", "TerminationNotice")
            record.setdefault("stoppedReason", CLOSED)
            _end(record)

        for task in self._store.query(TASK, where=lambda each: each["lastStatus"] != "STOPPED"):
            self._store.update(TASK, key_of(task), change)

    def close(self) -> None:
        """End every task; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            runs = list(self._running.items())
            for task in self.active():
                self.stop(key_of(task), CLOSED, "TerminationNotice", most_grace=2)
            for _, run in runs:
                run.stop(most_grace=2)
        for _, run in runs:
            run.thread.join(_CLOSE_SECONDS)
        self._engine.close()
        self._parts.metadata.close()


def key_of(task: Mapping[str, Any]) -> str:
    """A task's name in the store."""
    return f"{task['_cluster']}/{task['taskArn'].rpartition('/')[2]}"


def _end(record: dict[str, Any]) -> None:
    """Mark a task without processes as ended."""
    moment = now()
    for container in record["containers"]:
        container["lastStatus"] = "STOPPED"
    record.update(
        lastStatus="STOPPED", desiredStatus="STOPPED", stoppedAt=moment, version=record["version"] + 1
    )
    record.setdefault("stoppingAt", moment)
    record["_updatedAt"] = moment


def _orphaned(record: dict[str, Any]) -> None:
    record.setdefault("stopCode", "TerminationNotice")
    record.setdefault("stoppedReason", ORPHANED)
    record["connectivity"] = "DISCONNECTED"
    _end(record)


def states(tasks: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many run, and how many are on their way there."""
    wanted = [task for task in tasks if task["desiredStatus"] == "RUNNING"]
    running = sum(1 for task in wanted if task["lastStatus"] == "RUNNING")
    return running, len(wanted) - running
