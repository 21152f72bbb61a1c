"""How a step fails: one line for the user where SageMaker shows it, and an exit code.

A training job's failure reason is read from `output/failure`, a processing job's exit message from
`output/message`; SageMaker takes the first 1,024 bytes of either.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

MESSAGE_BYTES = 1024


class UserError(Exception):
    """A mistake that whoever started the job can mend; its text is one line: what, where, what to do."""


def run(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None) -> int:
    """Run a step's `main` and turn what it raises into an exit code and SageMaker's message files.

    A `UserError` becomes one line. Anything else is a defect: its trace goes to the log as well.
    """
    # As process 1 of a container Python would ignore SIGTERM, and a stopped job would wait 120 s to be
    # killed.
    signal.signal(signal.SIGTERM, _stop)
    try:
        main(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        return fail(str(error))
    except MemoryError:
        return fail("out of memory: choose an instance type with more memory")
    except Exception as error:
        traceback.print_exc()
        return fail(f"{type(error).__name__}: {error}")
    return 0


def say(line: str) -> None:
    """One line in the job's log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fail(message: str) -> int:
    """Leave `message`, as one line, where SageMaker looks for it; returns the exit code."""
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    text = line.encode()[:MESSAGE_BYTES].decode(errors="ignore")
    output = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "output"
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in ("failure", "message"):
            (output / name).write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(
            f"error: {output} cannot be written ({error}); the message stands only in this log\n"
        )
    return 1


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
