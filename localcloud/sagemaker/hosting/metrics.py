"""CloudWatch metrics of endpoints, collected and published in steps.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict

from localcloud.aws.metrics import put_values
from localcloud.context import Cloud

NAMESPACE = "AWS/SageMaker"
_STEP_SECONDS = 1.0
_log = logging.getLogger(__name__)
_Key = tuple[str, str, str, str]  # metric, unit, endpoint, variant


class InvocationMetrics:
    """Counts of values since the last publication. A request costs a few dictionary writes."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
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
        status: int,
        model_seconds: float,
        total_seconds: float,
        instances: int,
    ) -> None:
        """Note one invocation that reached a container.

        Args:
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

    def _add(self, endpoint: str, variant: str, values: tuple[tuple[str, str, float], ...]) -> None:
        with self._lock:
            for name, unit, value in values:
                self._values[(name, unit, endpoint, variant)][value] += 1

    def _run(self) -> None:
        while not self._closed.wait(_STEP_SECONDS):
            self._publish()
        self._publish()

    def _publish(self) -> None:
        with self._lock:
            taken, self._values = self._values, defaultdict(Counter)
        for (name, unit, endpoint, variant), values in taken.items():
            dimensions = {"EndpointName": endpoint, "VariantName": variant}
            try:
                put_values(self._cloud, NAMESPACE, name, values, unit, dimensions)
            except Exception:
                # Metrics are lost, invocations must not be.
                _log.exception("metric %s of endpoint %s", name, endpoint)

    def close(self) -> None:
        """Publish what is left."""
        self._closed.set()
        self._thread.join(5)
