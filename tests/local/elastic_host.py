"""A host of an elastic job under test: the entry of its container, with ranks that can be held before a step.

A rank waits before step N while the file `hold-N-HOST` is there, and says so with `held-N-HOST`; while one
is held the others wait for it in the middle of the step. `hold-evaluation-HOST` has it wait before the last
batch of an evaluation. `told-HOST` says that a rank was told to stop since it is held. So a fault strikes at
the same place on a machine of any speed.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from training.common.failure import run, say


def trainer(arguments: Sequence[str]) -> None:
    """The trainer, held where the test wants it; logs each step before it is computed.

    With SILENCE_SECONDS a rank that has trained may be silent for so long only, and delivering the model
    takes longer. With ABORTED a rank that has lost another one is aborted, as NCCL's watchdog does it.
    """
    from torch.distributed.distributed_c10d import _set_pg_timeout, barrier

    from training.vision import release, train
    from training.vision.checkpoints import saver
    from training.vision.config import Config
    from training.vision.data import Split
    from training.vision.elastic import worker

    folder, host = Path(os.environ["HOLDS"]), os.environ["HOST"]
    rate, note, batches_of = Config.rate, saver._Signals._note, Split.evaluation
    last = [-1]

    def wait(place: int | str) -> None:
        hold, held = folder / f"hold-{place}-{host}", folder / f"held-{place}-{host}"
        if hold.exists() and not held.exists():
            # A rank of another round may have been told before it ended.
            (folder / f"told-{host}").unlink(missing_ok=True)
        while hold.exists():
            held.touch()
            time.sleep(0.02)

    def held(config: Any, step: int, steps_per_epoch: int) -> float:
        if step != last[0]:
            last[0] = step
            say(f"step {step} in a world of {os.environ['WORLD_SIZE']} at {time.time():.2f}")
            wait(step)
        return rate(config, step, steps_per_epoch)

    def evaluated(split: Any, batch_size: int) -> Iterator[Any]:
        *batches, final = batches_of(split, batch_size)
        yield from batches
        wait("evaluation")
        yield final

    def noted(signals: Any, *given: Any) -> None:
        note(signals, *given)
        (folder / f"told-{host}").touch()

    if "ABORTED" in os.environ:
        end = worker._end

        def aborted(code: int) -> None:
            if code == worker.LOST:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.abort()
            end(code)

        worker._end = aborted
    Config.rate = held  # type: ignore[method-assign]
    Split.evaluation = evaluated  # type: ignore[method-assign]
    saver._Signals._note = noted  # type: ignore[method-assign]
    if silence := float(os.environ.get("SILENCE_SECONDS", "0")):
        deliver, candidates = release.deliver, release._candidates

        def slowly(*given: Any) -> None:
            time.sleep(1.5 * silence)
            deliver(*given)

        def trained(*given: Any) -> Any:
            # Only now: on a machine that is busy ranks start, and compute a step, further apart than this.
            barrier()
            _set_pg_timeout(timedelta(seconds=silence))
            return candidates(*given)

        release._candidates, release.deliver = trained, slowly
    train.main(arguments)


def main(arguments: Sequence[str]) -> None:
    """Hosts that are started together meet in one round, however long each takes to come so far."""
    from training.vision.elastic import preload

    preload.begin()
    from training.vision.elastic import agent
    from training.vision.elastic.job import lay_out
    from training.vision.elastic.settings import Settings

    folder, meet = Path(os.environ["HOLDS"]), agent.Agent._rendezvous

    def meet_together(own: Any, group: Any) -> None:
        (folder / f"there-{os.environ['HOST']}").touch()
        while not all((folder / f"there-{name}").exists() for name in os.environ["TOGETHER"].split()):
            time.sleep(0.02)
        meet(own, group)

    agent.Agent._rendezvous = meet_together  # type: ignore[method-assign]
    # It passes only where fewer hosts meet than may.
    agent.TUNED["last_call_timeout"] = int(os.environ.get("LAST_CALL", "10"))
    agent.DEFECTS = int(os.environ.get("DEFECTS", agent.DEFECTS))
    # A cut line is mended before that passes, at which a host would give up.
    agent.TUNED["read_timeout"] = int(os.environ.get("READ_TIMEOUT", "15"))
    if "ABORTED" in os.environ:
        # The ranks end, and their agent sees it, before it takes the host that is gone for a silent one.
        agent.TUNED["keep_alive_max_attempt"] = 6
    settings = Settings.read(os.environ)
    lay_out(settings)
    agent.supervise(settings, trainer, arguments)


if __name__ == "__main__":
    raise SystemExit(run(main))
