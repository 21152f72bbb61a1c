"""The process that ranks fork from, which loads what they need while its agent loads what itself needs.

Imports nothing that takes a while. That process knows the environment of its own start alone: `changes` is
what ranks must be told.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

_environment: dict[str, str] = {}


def begin() -> None:
    """Start it, if it was not started yet; this returns at once."""
    if not _environment:
        _environment.update(os.environ)
        multiprocessing.set_forkserver_preload(["training.vision.elastic.warm"])
        forkserver.ensure_running()


def await_loaded() -> None:
    """Return once it has loaded all: it serves nobody before."""
    begin()
    process = multiprocessing.get_context("forkserver").Process(target=int)
    process.start()
    process.join()


def changes() -> dict[str, str]:
    """Of the environment since it was started; nothing is taken out of it."""
    return {name: value for name, value in os.environ.items() if _environment.get(name) != value}
