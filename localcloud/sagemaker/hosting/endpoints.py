"""The endpoints of one cloud: their fleets, and the changes that run in the background."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from localcloud.aws.sessions import RoleSession
from localcloud.containers.engine import Engine
from localcloud.containers.image import ImageStore
from localcloud.context import Cloud
from localcloud.sagemaker.hosting import captures, deployment, rollout
from localcloud.sagemaker.hosting.capture import Capture
from localcloud.sagemaker.hosting.deployment import Deployment, Interrupted, RolledBack
from localcloud.sagemaker.hosting.fleet import DRAIN_SECONDS, Fleet, Variant
from localcloud.sagemaker.hosting.instance import Instance, StartError, VariantSpec, assume
from localcloud.sagemaker.hosting.invoke import Invoker
from localcloud.sagemaker.hosting.metrics import InvocationMetrics, Observed
from localcloud.sagemaker.hosting.traffic import Traffic
from localcloud.sagemaker.store import Store, now

KIND = "endpoint"
MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_START_SECONDS = 480.0  # what AWS gives a container to answer its first ping
_log = logging.getLogger(__name__)


class Hosting:
    """Runs endpoints. The stored record is the truth that callers see; the fleet is what runs.

    Private members of a record: `_Plan` (variants with the container each runs) and, while a change is on its
    way, `_NextPlan`.

    Example:
        >>> hosting.deploy("my-endpoint")      # the record says Creating; returns at once
        >>> hosting.invoke("my-endpoint", {"Body": b"1,2", "ContentType": "text/csv"})["Body"]
    """

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store
        folder = cloud.folder.containers / "endpoints"
        shutil.rmtree(folder, ignore_errors=True)
        self._engine = Engine(folder, cloud)
        self._images = ImageStore(cloud.folder.images)
        self._traffic: dict[str, Traffic] = {}
        self._lock = threading.Lock()
        self._metrics = InvocationMetrics(cloud, self._observe)
        self._invoker = Invoker(cloud, self._metrics)
        self._closed = threading.Event()
        self._tasks: set[threading.Thread] = set()
        self._resume()

    def invoke(self, endpoint: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """See `Invoker.invoke`."""
        return self._invoker.invoke(endpoint, lambda: self._traffic.get(endpoint), request)

    def deploy(self, name: str) -> None:
        """Start the fleet of `_NextPlan` in the background; it replaces the running one as the record's
        LastDeploymentConfig says."""
        self._run(name, self._deploy)

    def scale(self, name: str) -> None:
        """Bring weights and instance counts to the record's desired values, in the background."""
        self._run(name, self._scale)

    def remove(self, name: str) -> None:
        """Stop the fleet and delete the record, in the background."""
        self._run(name, self._remove)

    def close(self) -> None:
        """Stop every server; the records stay, so that the next start brings the endpoints up again."""
        self._closed.set()
        with self._lock:
            fleets = [fleet for traffic in self._traffic.values() for fleet in traffic.fleets()]
            self._traffic = {}
            tasks = list(self._tasks)
        if fleets:
            with ThreadPoolExecutor(max_workers=len(fleets)) as pool:
                list(pool.map(lambda fleet: fleet.stop(0), fleets))
        self._engine.close()
        for task in tasks:
            task.join(10)
        self._metrics.close()

    def _observe(self) -> list[Observed]:
        with self._lock:
            known = list(self._traffic.items())
        found = []
        for endpoint, traffic in known:
            for fleet in traffic.fleets():
                for name, variant in fleet.variants.items():
                    instances = variant.instances
                    healthy = sum(instance.healthy for instance in instances)
                    running = sum(instance.running for instance in instances)
                    found.append(Observed(endpoint, name, healthy, running))
        return found

    def _resume(self) -> None:
        for record in self._store.query(KIND):
            name, status = record["EndpointName"], record["EndpointStatus"]
            if status == "Deleting":
                self._store.delete(KIND, name)
            elif status != "Failed":
                # An update that was cut off ends with what served before it.
                self._store.update(KIND, name, _resumed)
                self.deploy(name)

    def _run(self, name: str, change: Callable[[str], None]) -> None:
        def task() -> None:
            try:
                change(name)
            except Exception as error:
                _log.exception("endpoint %s", name)
                if not self._closed.is_set():
                    self._settle(name, "Failed", FailureReason=f"The local cloud failed: {error!r}")
            finally:
                with self._lock:
                    self._tasks.discard(thread)

        thread = threading.Thread(target=task, daemon=True, name=f"endpoint-{name}")
        with self._lock:
            if self._closed.is_set():
                return
            self._tasks.add(thread)
        thread.start()

    def _deploy(self, name: str) -> None:
        record = self._store.get(KIND, name)
        plan = record["_NextPlan"]
        fleet = Fleet([self._variant(name, plan, entry) for entry in plan["Variants"]])
        with self._lock:
            traffic = self._traffic.get(name)
        # Nothing is shifted where nothing served before.
        config = record.get("LastDeploymentConfig") if traffic else None
        count = sum(variant.size for variant in fleet.variants.values())
        role_arn = plan["Variants"][0]["RoleArn"]
        started = now()

        def note(status: str, message: str, share: float) -> None:
            summary = deployment.pending(plan, started, now(), status, message, share)
            if traffic is not None:
                self._store.update(KIND, name, lambda found: found.update(PendingDeploymentSummary=summary))

        change = Deployment(self._cloud, rollout.plan(config, count), role_arn, self._closed.is_set, note)
        try:
            change.start(fleet)
            if traffic is None:
                self._serve(name, fleet)
            else:
                change.shift(traffic, fleet)
        except (StartError, RolledBack) as error:
            self._go_back(name, fleet, str(error))
        except Interrupted:
            fleet.stop(0)
        else:
            old = traffic.fleet if traffic else None
            if traffic is not None:
                # Before the record says so: who scales next must find the new fleet.
                traffic.keep(fleet)
            self._store.update(KIND, name, lambda found: _deployed(found, plan))
            if old is not None:
                old.stop(DRAIN_SECONDS)

    def _serve(self, name: str, fleet: Fleet) -> None:
        with self._lock:
            if self._closed.is_set():
                raise Interrupted
            self._traffic[name] = Traffic(fleet)

    def _go_back(self, name: str, fleet: Fleet, reason: str) -> None:
        """Keep what served before, if anything did."""
        if self._closed.is_set():
            return
        with self._lock:
            traffic = self._traffic.get(name)
        if traffic is not None:
            self._settle(name, "RollingBack")
            traffic.keep(traffic.fleet)
        fleet.stop(DRAIN_SECONDS)

        def change(record: dict[str, Any]) -> None:
            del record["_NextPlan"]
            record.pop("PendingDeploymentSummary", None)
            record.update(
                EndpointStatus="InService" if traffic else "Failed",
                FailureReason=reason[:1024],
                LastModifiedTime=now(),
            )

        self._store.update(KIND, name, change)

    def _variant(self, endpoint: str, plan: Mapping[str, Any], entry: Mapping[str, Any]) -> Variant:
        spec = VariantSpec(
            endpoint=endpoint,
            config=plan["EndpointConfigName"],
            name=entry["Summary"]["VariantName"],
            container=entry["Container"],
            role_arn=entry["RoleArn"],
            model_arn=entry["ModelArn"],
            isolated=entry["Isolated"],
            start_seconds=entry.get("StartSeconds") or _START_SECONDS,
        )
        summary = entry["Summary"]
        capture = self._capture(spec, captures.parse(plan.get("Capture")))
        return Variant(spec, summary["DesiredWeight"], summary["DesiredInstanceCount"], self._make, capture)

    def _capture(self, spec: VariantSpec, config: captures.CaptureConfig | None) -> Capture | None:
        if config is None:
            return None

        def functional(works: bool) -> None:
            def change(record: dict[str, Any]) -> None:
                if "DataCaptureConfig" in record:
                    record["DataCaptureConfig"]["CaptureStatus"] = "Started" if works else "Stopped"

            # The endpoint may be gone, and its last captures be late.
            if self._store.find(KIND, spec.endpoint) is not None:
                self._store.update(KIND, spec.endpoint, change)

        session = RoleSession(lambda: assume(spec))
        return Capture(self._cloud, config, spec.endpoint, spec.name, session, functional)

    def _make(self, spec: VariantSpec) -> Instance:
        return Instance(self._cloud, self._engine, self._images, self._metrics, spec)

    def _scale(self, name: str) -> None:
        fleet = self._traffic[name].fleet
        wanted = self._store.get(KIND, name)["ProductionVariants"]
        reason = None
        for summary in wanted:
            variant = fleet.variants[summary["VariantName"]]
            variant.weight = summary["DesiredWeight"]
            size = summary["DesiredInstanceCount"]
            try:
                variant.grow(max(size, variant.size), self._closed.is_set)
            except StartError as error:
                reason = str(error)
                continue
            variant.shrink(size)
        if self._closed.is_set():
            return

        def change(record: dict[str, Any]) -> None:
            for summary in record["ProductionVariants"]:
                variant = fleet.variants[summary["VariantName"]]
                summary["CurrentWeight"] = variant.weight
                summary["CurrentInstanceCount"] = summary["DesiredInstanceCount"] = variant.size
            _keep_sizes(record)
            record.update(EndpointStatus="InService", LastModifiedTime=now())
            record.pop("FailureReason", None)
            if reason:
                record["FailureReason"] = reason[:1024]

        self._store.update(KIND, name, change)

    def _remove(self, name: str) -> None:
        with self._lock:
            traffic = self._traffic.pop(name, None)
        if traffic is not None:
            traffic.fleet.stop(DRAIN_SECONDS)
        if not self._closed.is_set():
            self._store.delete(KIND, name)

    def _settle(self, name: str, status: str, **members: Any) -> None:
        if self._store.find(KIND, name) is not None:
            self._store.update(
                KIND,
                name,
                lambda record: record.update(EndpointStatus=status, LastModifiedTime=now(), **members),
            )


def _resumed(record: dict[str, Any]) -> None:
    record["_NextPlan"] = record.get("_Plan") or record["_NextPlan"]
    record.pop("PendingDeploymentSummary", None)
    record["EndpointStatus"] = "SystemUpdating"


def _deployed(record: dict[str, Any], plan: Mapping[str, Any]) -> None:
    for member in ("_NextPlan", "PendingDeploymentSummary", "FailureReason"):
        record.pop(member, None)
    record.update(
        _Plan=dict(plan),
        EndpointConfigName=plan["EndpointConfigName"],
        ProductionVariants=[entry["Summary"] for entry in plan["Variants"]],
        EndpointStatus="InService",
        LastModifiedTime=now(),
    )
    record.pop("DataCaptureConfig", None)
    if (shown := captures.summary(plan.get("Capture"))) is not None:
        record["DataCaptureConfig"] = shown


def _keep_sizes(record: dict[str, Any]) -> None:
    """The plan follows a scaling, so that a restart of the cloud brings up as many instances."""
    by_name = {summary["VariantName"]: summary for summary in record["ProductionVariants"]}
    for entry in record["_Plan"]["Variants"]:
        entry["Summary"] = by_name[entry["Summary"]["VariantName"]]
