"""What a worker tells CloudWatch: lines of its log in the embedded metric format, no call and no permission.

Counted is what a claim newly brought into the ledger, once its answer came: a message that comes twice counts
once. Told is too little, never too much, when a worker is killed between a claim and its line, when the
answer of a claim is lost (the next try is refused, as known), or when the log's driver drops lines. An object
that is uploaded again is another commit, and counts again; the ledger then names the newest alone.

The construct `modelyard.training.PreprocessingQueue` shows and watches the metrics by these names.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from training.common.failure import say
from training.preprocessing.progress import Progress

NAMESPACE = "Modelyard/Training"
CLUSTER, DATASET = "Cluster", "Dataset"
# Images that came into the dataset, that cannot be used, and what one takes a worker, both together.
PREPARED, QUARANTINED, IMAGE_TIME = "Prepared", "Quarantined", "ImageTime"
UNITS: Mapping[str, str] = {PREPARED: "Count", QUARANTINED: "Count", IMAGE_TIME: "Milliseconds"}


def metric_line(
    milliseconds: int, cluster: str, dataset: str, *, prepared: int, quarantined: int, seconds: float
) -> str:
    """The line of a batch with at least one image.

    Args:
        milliseconds: since 1970.
        cluster, dataset: the metrics' dimensions.
        prepared, quarantined: images.
        seconds: that they took together.

    Example:
        >>> metric_line(0, "gpu", "dogs", prepared=3, quarantined=1, seconds=0.2).rpartition("}},")[2]
        '"Cluster":"gpu","Dataset":"dogs","Prepared":3,"Quarantined":1,"ImageTime":50.0}'
    """
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[CLUSTER, DATASET]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in UNITS.items()],
    }
    members = {
        "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
        CLUSTER: cluster,
        DATASET: dataset,
        PREPARED: prepared,
        QUARANTINED: quarantined,
        IMAGE_TIME: round(1000 * seconds / (prepared + quarantined), 3),
    }
    return json.dumps(members, separators=(",", ":"))


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """Tells what has been counted since it told last.

    Args:
        cluster: that the workers run on; without one nothing is told, since CloudWatch bills each metric.
        clock: seconds since 1970.
        write: takes a line of the log.
    """

    cluster: str
    dataset: str
    clock: Callable[[], float]
    write: Callable[[str], None] = say
    _prepared: int = field(default=0, init=False)
    _quarantined: int = field(default=0, init=False)

    def tell(self, progress: Progress, seconds: float) -> None:
        """A line, if there is anything new; `seconds` that it took."""
        prepared, quarantined = progress.done - self._prepared, progress.quarantined - self._quarantined
        if not self.cluster or not prepared + quarantined:
            return
        self._prepared, self._quarantined = progress.done, progress.quarantined
        now = int(self.clock() * 1000)
        self.write(
            metric_line(
                now, self.cluster, self.dataset, prepared=prepared, quarantined=quarantined, seconds=seconds
            )
        )
