"""A rank: the trainer in a process of its own, which an agent starts, and starts again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from types import FrameType

from torch import distributed

from training.common.failure import UserError, fail
from training.vision.checkpoints.store import StoreError
from training.vision.checkpoints.writer import ReplacedError
from training.vision.elastic.tracking import reach_package
from training.vision.job_record import UntoldError
from training.vision.telemetry.weights_and_biases import await_ended

# Exit codes, from sysexits.h; any other is a defect of code or machine, or memory that ran out.
LOST = os.EX_TEMPFAIL  # another rank is gone: start again with those that are there
REFUSED = os.EX_CONFIG  # a mistake of whoever started the job: it would be one again
STOPPED = 128 + signal.SIGTERM  # told to, with a checkpoint
# A run of Weights & Biases ends itself after eight, whatever its server does.
RUNS_SECONDS = 10

Trainer = Callable[[Sequence[str]], None]


def work(trainer: Trainer, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the trainer, and return when it has trained; else the process ends with what its agent understands.

    It ends at once: threads that wait for ranks that are gone would hold up an ordinary end.

    Args:
        environment: that of the agent, as far as the process that ranks fork from does not know it.
    """
    os.environ.update(environment)
    _end_with_agent()
    signal.signal(signal.SIGTERM, _stop)
    reach_package()
    try:
        trainer(arguments)
    except SystemExit as error:
        # Who was told to stop while a run ended lets it end: the host is gone then. For nothing else: what
        # torch.compile starts lives as long as this process.
        await_ended(RUNS_SECONDS)
        _end(error.code if isinstance(error.code, int) else 1)
    except BaseException as error:
        code = code_of(error)
        if code == LOST:
            sys.stderr.write(f"rank {os.environ.get('RANK')}: another rank is gone: {_line(error)}\n")
        elif isinstance(error, UserError):
            fail(str(error))
        else:
            traceback.print_exc()
            fail(f"{type(error).__name__}: {error}")
        _end(code)


def code_of(error: BaseException) -> int:
    """The exit code that says what to do about an exception."""
    if isinstance(error, ReplacedError):
        return LOST
    if isinstance(error, UserError):
        return 1 if isinstance(error.__cause__, StoreError | UntoldError) else REFUSED
    # Gloo says it with an ordinary RuntimeError that names its source file.
    gloo = isinstance(error, RuntimeError) and "gloo" in str(error)
    return LOST if gloo or isinstance(error, distributed.DistError) else 1


def _end_with_agent() -> None:
    """An agent that is killed cannot end its ranks, which fork from another process than the agent."""
    agent = multiprocessing.parent_process()
    if agent is not None:
        sentinel = agent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(LOST)), daemon=True).start()


def _stop(_signum: int, _frame: FrameType | None) -> None:
    """Before the trainer listens itself: there is nothing yet to lose."""
    raise SystemExit(STOPPED)


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
