"""CloudWatch metrics of endpoints, collected and published in steps.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from localcloud.aws.metrics import put_values
from localcloud.context import Cloud

NAMESPACE = "AWS/SageMaker"
# Steps of publication: on AWS's clock, and at most in real seconds.
_STEP, _LONGEST_STEP = 6.0, 1.0
_MINUTE, _HIGH_RESOLUTION = 60, 10
_log = logging.getLogger(__name__)
_Key = tuple[str, str, str, str, str]  # metric, unit, endpoint, variant, configuration or nothing


@dataclass(frozen=True, slots=True)
class Observed:
    """A variant in service.

    Args:
        instances: healthy ones.
        running: requests on their way.
    """

    endpoint: str
    variant: str
    instances: int
    running: int


class InvocationMetrics:
    """Counts of values since the last publication. A request costs a few dictionary writes.

    Args:
        observe: the variants in service now. A minute without a request is published as zeros, which lets
            target tracking scale in: see
            https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-edit.html
    """

    def __init__(self, cloud: Cloud, observe: Callable[[], Iterable[Observed]] = tuple) -> None:
        self._cloud, self._observe = cloud, observe
        self._minute, self._tenth = _MINUTE / cloud.clock, _HIGH_RESOLUTION / cloud.clock
        self._busy: set[tuple[str, str]] = set()
        self._idle: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._values: defaultdict[_Key, Counter[float]] = defaultdict(Counter)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="endpoint-metrics")
        self._thread.start()

    def invoked(
        self,
        endpoint: str,
        variant: str,
        *,
        config: str = "",
        status: int,
        model_seconds: float,
        total_seconds: float,
        instances: int,
    ) -> None:
        """Note one invocation that reached a container.

        Args:
            config: of the variant's fleet: published under its name, too, as AWS does during updates. See
                https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
            status: of the answer to the caller: the container's, or 5xx if there was none.
            model_seconds: in the container, connection included.
            total_seconds: from the request's arrival to its answer.
            instances: of the variant.
        """
        overhead = max(0.0, total_seconds - model_seconds)
        values = (
            ("Invocations", "None", 1.0),
            ("InvocationsPerInstance", "None", 1.0 / max(1, instances)),
            ("Invocation4XXErrors", "None", float(400 <= status < 500)),
            ("Invocation5XXErrors", "None", float(status >= 500)),
            ("InvocationModelErrors", "None", float(status >= 300)),
            ("ModelLatency", "Microseconds", float(round(model_seconds * 1e6))),
            ("OverheadLatency", "Microseconds", float(round(overhead * 1e6))),
        )
        self._add(endpoint, variant, values)
        if config:
            self._add(endpoint, variant, values, config)
        with self._lock:
            self._busy.add((endpoint, variant))

    def multi_model(self, endpoint: str, variant: str, *, hit: bool) -> None:
        """Note whether the target model was loaded already."""
        self._add(endpoint, variant, (("ModelCacheHit", "None", float(hit)),))

    def loaded(
        self, endpoint: str, variant: str, *, download_seconds: float, load_seconds: float, models: int
    ) -> None:
        """Note that a model has been loaded, and how many the instance now holds."""
        values = (
            ("ModelDownloadingTime", "Microseconds", float(round(download_seconds * 1e6))),
            ("ModelLoadingTime", "Microseconds", float(round(load_seconds * 1e6))),
            ("LoadedModelCount", "None", float(models)),
        )
        self._add(endpoint, variant, values)

    def _add(
        self, endpoint: str, variant: str, values: tuple[tuple[str, str, float], ...], config: str = ""
    ) -> None:
        with self._lock:
            for name, unit, value in values:
                self._values[(name, unit, endpoint, variant, config)][value] += 1

    def _run(self) -> None:
        step, before = min(_LONGEST_STEP, _STEP / self._cloud.clock), time.time()
        while not self._closed.wait(step):
            self._publish()
            moment = time.time()
            if moment // self._tenth > before // self._tenth:
                self._sample()
            if moment // self._minute > before // self._minute:
                self._zeros(moment // self._minute * self._minute)
            before = moment
        self._publish()

    def _sample(self) -> None:
        for seen in self._observe():
            share = seen.running / max(1, seen.instances)
            self._put(seen.endpoint, seen.variant, "ConcurrentRequestsPerModel", "None", {share: 1})

    def _zeros(self, end: float) -> None:
        """Publish for variants that were in service, and not invoked, in all of the minute that has ended."""
        with self._lock:
            busy, self._busy = self._busy, set()
        in_service = {(seen.endpoint, seen.variant) for seen in self._observe() if seen.instances}
        for endpoint, variant in (in_service & self._idle) - busy:
            for name in ("Invocations", "InvocationsPerInstance"):
                self._put(endpoint, variant, name, "None", {0.0: 1}, end - self._minute / 2)
        self._idle = in_service

    def _publish(self) -> None:
        with self._lock:
            taken, self._values = self._values, defaultdict(Counter)
        for (name, unit, endpoint, variant, config), values in taken.items():
            self._put(endpoint, variant, name, unit, values, config=config)

    def _put(
        self,
        endpoint: str,
        variant: str,
        name: str,
        unit: str,
        values: dict[float, int],
        timestamp: float | None = None,
        config: str = "",
    ) -> None:
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        if config:
            dimensions["EndpointConfigName"] = config
        try:
            put_values(self._cloud, NAMESPACE, name, values, unit, dimensions, timestamp)
        except Exception:
            # Metrics are lost, invocations must not be.
            _log.exception("metric %s of endpoint %s", name, endpoint)

    def close(self) -> None:
        """Publish what is left."""
        self._closed.set()
        self._thread.join(5)
