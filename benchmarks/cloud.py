"""The local cloud: time from `modelyard up` until it answers, and memory of all its processes when idle."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from localcloud import lifecycle

READY_S, IDLE_MB = 3.0, 300.0


def measure() -> dict[str, Any]:
    seconds, megabytes = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "state"
            started = time.perf_counter()
            lifecycle.up(root)
            try:
                seconds.append(time.perf_counter() - started)
                _ask_each_service(root)
                megabytes.append(lifecycle.status(root)["memory_bytes"] / 1e6)
            finally:
                lifecycle.down(root)
    ready, idle = statistics.median(seconds), statistics.median(megabytes)
    return {
        "ready_s": {"median": round(ready, 3), "max": round(max(seconds), 3), "bound": READY_S},
        "idle_mb": {"median": round(idle, 1), "max": round(max(megabytes), 1), "bound": IDLE_MB},
        "holds": ready <= READY_S and idle <= IDLE_MB,
    }


def _ask_each_service(root: Path) -> None:
    """Load the services that the app uses: idle means that they have been used once."""
    from localcloud.connect import connect

    cloud, administrator = connect(root)
    for service, operation in {
        "s3": "list_buckets",
        "sts": "get_caller_identity",
        "iam": "list_roles",
        "kms": "list_keys",
        "lambda": "list_functions",
        "dynamodb": "list_tables",
        "events": "list_rules",
        "sqs": "list_queues",
        "logs": "describe_log_groups",
        "cloudwatch": "describe_alarms",
        "cloudformation": "list_stacks",
        "ecr": "describe_repositories",
        "sagemaker": "list_pipelines",
    }.items():
        getattr(cloud.client(service, administrator), operation)()
