"""The entry of a container of an elastic job: one on each host, on ECS, on EC2, or by hand.

    RENDEZVOUS_ENDPOINT=host:29400 JOB_NAME=dogs-1 MIN_HOSTS=1 MAX_HOSTS=4 \\
    CHECKPOINT_URI=s3://bucket/runs/dogs-1 DATASET_URI=s3://bucket/datasets/dogs/manifests/SHA.json \\
    OUTPUT_URI=s3://bucket/models/dogs-1 HYPERPARAMETERS='{"epochs": 20}' \\
        python -m training.vision.launch -- [trainer's arguments]

`ATTEMPT_STARTED` (epoch seconds) is since when this host is paid for the attempt; since now, without it.
`ATTEMPT`, counted from 1, tells the hosts of a job that is started again from those of before. SIGTERM ends
the host: all ranks agree on a step and write a checkpoint, the other hosts go on from it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from training.common.failure import run


def main(arguments: Sequence[str]) -> None:
    os.environ.setdefault("ATTEMPT", "1")
    # Ranks start again within the attempt.
    os.environ.setdefault("ATTEMPT_STARTED", repr(time.time()))
    # PyTorch tells of each lost connection with a stack trace in C++; the agent says it in a line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Only here: a mistake in the settings is told before PyTorch is loaded.
    from training.vision.elastic import preload
    from training.vision.elastic.settings import Settings

    settings = Settings.read(os.environ)
    preload.begin()
    from training.vision import train
    from training.vision.elastic.agent import supervise
    from training.vision.elastic.job import lay_out
    from training.vision.elastic.tracking import tracked

    lay_out(settings)
    given = list(arguments)
    with tracked(settings.output):
        supervise(settings, train.main, given[1:] if given[:1] == ["--"] else given)


if __name__ == "__main__":
    raise SystemExit(run(main))
