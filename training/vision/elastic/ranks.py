"""The ranks of an elastic job, as its agent tells each of them, and the process group of one round.

https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch

# Before there is a group: else its functions' defaults keep that, and gloo's threads with it. One that is
# alive when the interpreter ends may abort a job that has trained all there was.
import torch.distributed.nn
from torch import distributed

from training.common.hosts import Hosts

# A rank that is gone is noticed when its connection breaks, and a host that is silent by its agent; this is
# for a rank that stands still while its agent lives. Longer than one may wait for images while S3 is
# throttled, `remote.WAIT_SECONDS`: it is not lost, and started again it would meet the same S3. What the
# first rank does alone may take longer: `Group.alone`.
SILENCE = timedelta(minutes=5)


def ranks() -> Hosts | None:
    """All ranks of this round, and which one this is; None in a job that is not elastic."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    count = int(os.environ["WORLD_SIZE"])
    return Hosts(tuple(f"rank {number}" for number in range(count)), int(os.environ["RANK"]))


def neighbours() -> int:
    """Ranks on this host, which share its CPUs; 1 in a job that is not elastic."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def machines(hosts: Hosts) -> int:
    """Hosts with these ranks; in a job that is not elastic each is one."""
    return int(os.environ.get("GROUP_WORLD_SIZE", hosts.count))


def device() -> Any:
    """This rank's GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    found = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(found)
    return found


@contextlib.contextmanager
def joined(kind: str) -> Iterator[None]:
    """The process group; its end comes on all ranks together.

    Args:
        kind: of the device, cuda or cpu.
    """
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=SILENCE)
    yield
    distributed.barrier()
    distributed.destroy_process_group()
