"""What is left of the process group when its context has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TRAINS = """
import os
from pathlib import Path
import torch
from torch.nn.parallel import DistributedDataParallel
from training.vision.elastic.ranks import joined

def train():
    network = DistributedDataParallel(torch.nn.Linear(3, 1))
    network(torch.ones(2, 3)).sum().backward()

with joined("cpu"):
    train()
print(sorted(path.joinpath("comm").read_text().strip() for path in Path("/proc/self/task").iterdir()))
"""


def test_its_threads_end_with_it() -> None:
    """A thread of gloo that is alive when the interpreter ends may abort a job that has trained all there
    was: `terminate called without an active exception`."""
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", TRAINS],
        cwd=ROOT,
        env=os.environ | place | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "gloo" not in done.stdout, done.stdout
