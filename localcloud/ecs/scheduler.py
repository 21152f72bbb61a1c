"""Keeps services at their count, and lets the runner look around."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

from localcloud.ecs import rolling, strategy
from localcloud.ecs.names import Names
from localcloud.ecs.runner import Plan, Runner, key_of
from localcloud.ecs.service import CLUSTER, DEFINITION, HOST, SERVICES, TASK
from localcloud.ecs.service_records import deploy, note, primary
from localcloud.sagemaker.store import NotFound, Store, now

_log = logging.getLogger(__name__)
_PAUSE = 1.0
_SHORTEST_PAUSE = 0.05
_LONG_RUN = 60.0


class Scheduler:
    """Acts whenever a task, a service or a cluster changes, and once a second.

    Args:
        clock: how many times faster the pauses between failing starts pass.
    """

    def __init__(self, store: Store, names: Names, runner: Runner, clock: float) -> None:
        self._store, self._names, self._runner, self._clock = store, names, runner, clock
        self._wake, self._closed = threading.Event(), threading.Event()
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._thread = threading.Thread(target=self._loop, daemon=True, name="ecs-scheduler")

    def start(self) -> None:
        """Act from now on."""
        self._store.subscribe(self._changed)
        self._thread.start()

    def close(self) -> None:
        """Act no more."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _loop(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(_PAUSE)
            self._wake.clear()
            try:
                self._runner.look_around()
                for record in self._store.query(SERVICES, where=lambda each: each["status"] != "INACTIVE"):
                    if not self._closed.is_set():
                        self._keep(record)
            except Exception:
                # One bad turn must not leave every service alone from then on.
                if not self._closed.is_set():
                    _log.exception("the scheduler of ECS failed")
            self._closed.wait(_SHORTEST_PAUSE)

    def _changed(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if (
            kind == TASK
            and new is not None
            and new["lastStatus"] == "STOPPED"
            and (old is None or old["lastStatus"] != "STOPPED")
        ):
            self._ended(new)
        if kind in (TASK, SERVICES, CLUSTER, HOST):
            self._wake.set()

    def _ended(self, task: dict[str, Any]) -> None:
        if not task["group"].startswith("service:") or task["stopCode"] not in (
            "TaskFailedToStart",
            "EssentialContainerExited",
        ):
            return
        key, deployment = f"{task['_cluster']}/{task['group'].removeprefix('service:')}", task["startedBy"]
        if "startedAt" in task and task["stoppedAt"] - task["startedAt"] > _LONG_RUN:
            self._failures[key] = 0
        else:
            self._failures[key] += 1
        self._not_before[key] = now() + rolling.delay(self._failures[key]) / self._clock

        def change(record: dict[str, Any]) -> None:
            identity = task["taskArn"].rpartition("/")[2]
            note(record, f"(task {identity}) stopped: {task['stoppedReason']}.")
            for each in record["deployments"]:
                if each["id"] == deployment and "startedAt" not in task:
                    each["failedTasks"] += 1
                    each["_reason"] = task["stoppedReason"]

        try:
            self._store.update(SERVICES, key, change)
        except NotFound:
            return

    def _keep(self, record: dict[str, Any]) -> None:
        cluster, name = record["_cluster"], record["serviceName"]
        key, newest = f"{cluster}/{name}", primary(record)
        tasks = self._runner.active(
            lambda task: task["_cluster"] == cluster and task["group"] == f"service:{name}"
        )
        live = [task for task in tasks if task["desiredStatus"] == "RUNNING"]
        draining = {
            host["containerInstanceArn"]
            for host in self._runner.hosts.records(cluster)
            if host["status"] == "DRAINING"
        }
        members = [
            rolling.Member(
                key=key_of(task),
                current=task["startedBy"] == newest["id"]
                and task.get("containerInstanceArn") not in draining,
                running=task["lastStatus"] == "RUNNING",
            )
            for task in live
        ]
        settings = record["deploymentConfiguration"]
        steps = rolling.plan(
            record["desiredCount"], members, settings["minimumHealthyPercent"], settings["maximumPercent"]
        )
        for victim in steps.stop:
            reason = f"Scaling activity initiated by (deployment {newest['id']})"
            self._runner.stop(victim, reason, "ServiceSchedulerInitiated")
        if steps.start and self._may_start(key, record, newest):
            self._start(key, record, steps.start, live)
        self._conclude(key, record, members, len(tasks))

    def _may_start(self, key: str, record: dict[str, Any], newest: dict[str, Any]) -> bool:
        breaker = record["deploymentConfiguration"]["deploymentCircuitBreaker"]
        rolling_out = newest["rolloutState"] == "IN_PROGRESS"
        if (
            breaker["enable"]
            and rolling_out
            and rolling.broken(newest["failedTasks"], record["desiredCount"])
        ):
            self._break(key, rollback=breaker["rollback"])
            return False
        if newest["rolloutState"] == "FAILED":
            return False
        return now() >= self._not_before.get(key, 0.0)

    def _break(self, key: str, *, rollback: bool) -> None:
        def change(record: dict[str, Any]) -> None:
            failed = primary(record)
            failed["rolloutState"] = "FAILED"
            failed["rolloutStateReason"] = "ECS deployment circuit breaker: tasks failed to start."
            reason = failed.get("_reason", "")
            note(record, f"(deployment {failed['id']}) deployment failed: tasks failed to start. {reason}")
            last = record.get("_completed")
            if rollback and last:
                record["taskDefinition"] = last
                deploy(record)
                note(record, f"rolling back to deployment {primary(record)['id']}.")

        self._store.update(SERVICES, key, change)

    def _start(self, key: str, record: dict[str, Any], count: int, live: list[dict[str, Any]]) -> None:
        items = record.get("capacityProviderStrategy", [])
        having = Counter(task["capacityProviderName"] for task in live if "capacityProviderName" in task)
        family, _, revision = record["taskDefinition"].rpartition("/")[2].rpartition(":")
        definition = self._store.get(DEFINITION, f"{family}:{revision}")
        started, failures = self._runner.run(
            Plan(
                cluster=self._store.get(CLUSTER, record["_cluster"]),
                definition=definition,
                targets=strategy.divide(items, count, having) if items else [None] * count,
                launch_type=record.get("launchType", ""),
                group=f"service:{record['serviceName']}",
                started_by=primary(record)["id"],
                constraints=[*definition["placementConstraints"], *record["placementConstraints"]],
                strategy=record["placementStrategy"],
                network=record.get("networkConfiguration", {}),
                registries=record["serviceRegistries"],
            )
        )

        def change(now_known: dict[str, Any]) -> None:
            now_known["_steady"] = now_known["_steady"] and not started
            if started:
                ids = " ".join(f"(task {task['taskArn'].rpartition('/')[2]})" for task in started)
                note(now_known, f"has started {len(started)} tasks: {ids}.")
            if failures:
                note(
                    now_known,
                    "was unable to place a task because no container instance met all of its requirements. "
                    f"Reason: {failures[0]['reason']}.",
                )

        self._store.update(SERVICES, key, change)

    def _conclude(self, key: str, record: dict[str, Any], members: list[rolling.Member], there: int) -> None:
        desired = record["desiredCount"]
        running = sum(1 for member in members if member.current and member.running)
        settled = running == desired and there == desired
        newest = primary(record)["id"]
        if record["status"] == "DRAINING" and there == 0:
            self._store.update(SERVICES, key, lambda each: each.update(status="INACTIVE", deployments=[]))
            return
        if not settled or record["_steady"] or record["status"] != "ACTIVE":
            return

        def change(now_known: dict[str, Any]) -> None:
            # What was asked for meanwhile is not reached yet.
            if now_known["desiredCount"] != desired or primary(now_known)["id"] != newest:
                return
            current = primary(now_known)
            now_known["_steady"] = True
            if current["rolloutState"] == "IN_PROGRESS":
                current.update(
                    rolloutState="COMPLETED",
                    rolloutStateReason=f"ECS deployment {newest} completed.",
                    updatedAt=now(),
                )
                now_known["_completed"] = now_known["taskDefinition"]
                note(now_known, f"(deployment {newest}) deployment completed.")
            now_known["deployments"] = [current]
            note(now_known, "has reached a steady state.")

        self._store.update(SERVICES, key, change)
