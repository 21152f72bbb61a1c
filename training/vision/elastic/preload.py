"""The process that ranks fork from: a copy of the agent's, made when all that both need is loaded.

Multiprocessing starts a new interpreter for it, which loads everything a second time: a host would come a
third later. Ranks cannot fork from the agent itself, which has threads by then.

That process knows the environment of its own start alone: `changes` is what ranks must be told.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import Any

_environment: dict[str, str] = {}


def begin() -> None:
    """Load what ranks need, and start it, if that was not done yet. Call before there are threads."""
    if _environment:
        return
    import training.vision.elastic.warm  # noqa: F401  for what it loads

    _environment.update(os.environ)
    # It, too, is started by what is replaced for a moment.
    resource_tracker.ensure_running()
    forkserver.set_forkserver_preload([])
    new_interpreter, own = util.spawnv_passfds, _descriptors()

    def copy(_path: bytes, arguments: Sequence[Any], passed: Sequence[int]) -> int:
        return os.fork() or _serve(arguments[-1], own | set(passed))

    util.spawnv_passfds = copy  # type: ignore[assignment]  # by its places
    try:
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = new_interpreter


def changes() -> dict[str, str]:
    """Of the environment since it was started; nothing is taken out of it."""
    return {name: value for name, value in os.environ.items() if _environment.get(name) != value}


def _serve(program: str, kept: set[int]) -> int:
    """In the copy: what the new interpreter would have run. Ends the process."""
    try:
        # Its end of the pipe by which the server learns that nobody needs it any more.
        for descriptor in _descriptors() - kept:
            os.close(descriptor)
        forkserver._forkserver._lock = threading.Lock()  # type: ignore[attr-defined]  # held as it was copied
        exec(program, {})  # noqa: S102  `main(...)` of multiprocessing.forkserver
    finally:
        os._exit(1)


def _descriptors() -> set[int]:
    """What is open, but for the descriptor by which that is read."""
    found = set()
    for entry in Path("/dev/fd").iterdir():
        number = int(entry.name)
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return found
