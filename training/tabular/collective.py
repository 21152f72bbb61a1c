"""XGBoost's collective over the hosts of a training job, and each host's share of the rows.

The first host runs the tracker, at which the others meet; then all train one model together: each builds
the histograms of its own rows, and the sums are everybody's. Metrics are summed too, so that early stopping
comes in the same round everywhere.
https://xgboost.readthedocs.io/en/stable/python/python_api.html#module-xgboost.collective
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from training.common.boosting import xgboost
from training.common.gang import Limits, join
from training.common.hosts import Hosts
from training.common.paths import base_dir
from training.tabular.parts import Share

LIMITS = Limits()


@contextlib.contextmanager
def together(hosts: Hosts) -> Iterator[dict[str, Any]]:
    """Bring the hosts together; yields what `communicator` needs. On one host there is nothing to do."""
    if hosts.count == 1:
        yield {}
        return
    tracker = _tracker(hosts) if hosts.is_first else None
    with join(hosts, json.dumps(tracker.worker_args()) if tracker else "", LIMITS) as gang:
        yield json.loads(gang.invitation) | {
            "dmlc_communicator": "rabit",
            "dmlc_task_id": f"{hosts.rank:05d}",
            # Lost hosts are noticed by `join`, within seconds; this is for a broken line between two others.
            "dmlc_timeout": int(LIMITS.join),
        }
    if tracker:
        tracker.free()


@contextlib.contextmanager
def communicator(arguments: dict[str, Any]) -> Iterator[None]:
    """While it is open, all hosts must build each DMatrix, train and predict together."""
    if not arguments:
        yield
        return
    with xgboost.collective.CommunicatorContext(**arguments):
        yield


def summed(numbers: Sequence[float]) -> list[float]:
    """The sums of the numbers over all hosts, inside `communicator`."""
    total = xgboost.collective.allreduce(np.array(numbers, dtype=np.float64), xgboost.collective.Op.SUM)
    return [float(number) for number in total]


def share_of(name: str, hosts: Hosts) -> Share:
    """The rows of a channel that this host trains on.

    Every n-th of a channel that each host has whole; all of one that S3 has sharded already
    (`S3DataDistributionType` ShardedByS3Key).
    """
    path = base_dir() / "input" / "config" / "inputdataconfig.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sharded = config.get(name, {}).get("S3DistributionType") == "ShardedByS3Key"
    return Share() if sharded else Share(hosts.rank, hosts.count)


def _tracker(hosts: Hosts) -> Any:
    from xgboost.tracker import RabitTracker

    address = socket.gethostbyname(hosts.names[0])
    tracker = RabitTracker(n_workers=hosts.count, host_ip=address, sortby="task", timeout=int(LIMITS.join))
    tracker.start()
    return tracker
