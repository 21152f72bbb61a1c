"""The hosts of a job, from SageMaker's `resourceconfig.json`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from training.common.failure import UserError
from training.common.paths import base_dir


@dataclass(frozen=True, slots=True)
class Hosts:
    """`names` of all hosts of the job, sorted, the same on each; `rank` of this one among them."""

    names: tuple[str, ...]
    rank: int

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def read_hosts() -> Hosts:
    """The job's hosts; a single host where there is no resource configuration."""
    # Training jobs have it in input/config, processing jobs in config.
    for folder in ("input/config", "config"):
        path = base_dir() / folder / "resourceconfig.json"
        if path.is_file():
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
                names = tuple(sorted(config["hosts"]))
                return Hosts(names, names.index(config["current_host"]))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} is not a resource configuration: {error}") from error
    return Hosts(("algo-1",), 0)


def usable_cpus() -> int:
    """CPUs that this process may run on; a container's share is less than the machine's."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a step runs only by hand
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
