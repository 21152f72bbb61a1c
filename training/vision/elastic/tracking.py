"""Runs of Weights & Biases that were written offline, brought to where the job's output goes.

Hosts of a cluster have no way to its servers. Its package writes a folder on the host, which ends with the
host; whoever has a way, and a key, uploads the copy: `wandb sync`.
https://docs.wandb.ai/models/ref/cli/wandb-sync
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from training.common.failure import say
from training.common.paths import base_dir
from training.vision.checkpoints.store import Store, open_store

# Of its package, apart from all others: timm, which each trainer loads, imports it where it finds it.
PACKAGES = Path(sys.prefix) / "tracking"
PROJECT, FOLDER = "WANDB_PROJECT", "WANDB_DIR"
BELOW = "wandb"
RUNS = "offline-run-*"
FIGURES = ".wandb"
# Logs of the package, and what it keeps for itself.
_LEFT_OUT = frozenset({"logs", "tmp"})
# The package itself writes what it has every 15 s.
EVERY_SECONDS = 60.0
# For a store that does not answer: a host that is stopped has two minutes.
PATIENCE_SECONDS = 30.0


@contextlib.contextmanager
def tracked(output: str | None, every: float = EVERY_SECONDS) -> Iterator[None]:
    """Copy this host's runs to `wandb/` of the job's output: now and then, and when the block ends, however.

    Does nothing for a job that asks for no project, or that has no output. What cannot be copied costs a line
    in the log.

    Args:
        output: `s3://bucket/prefix`, or a folder.
        every: seconds between two copies, of what has changed; a host may be lost without an end.

    Example:
        with tracked(settings.output):
            supervise(settings, trainer, arguments)
    """
    if not (output and os.environ.get(PROJECT)):
        yield
        return
    folder = Path(os.environ.setdefault(FOLDER, str(base_dir() / "output" / "data")))
    # Beside the runs: in a home it would outlive the job, or could not be written.
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        os.environ.setdefault(name, str(folder / "own"))
    copies, ended = Copies(folder / BELOW, f"{output.rstrip('/')}/{BELOW}"), threading.Event()

    def work() -> None:
        while not ended.wait(every):
            copies.copy()

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        with _undisturbed():
            thread.join()
            copies.copy()


def reach_package() -> None:
    """Let programs that this process starts find the package, if the job asks for a project."""
    if os.environ.get(PROJECT):
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PACKAGES), *([others] if others else [])])


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A job that is done has its hosts stopped, which may be now; SIGKILL follows after two minutes."""
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, previous)


class Copies:
    """Copies of a folder of runs.

    Args:
        folder: with a folder of each run, when there are some.
        place: where they go; no other host has runs of the same names.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self._folder, self._place = folder, place
        self._store: Store | None = None
        self._copied: dict[Path, tuple[int, int]] = {}
        self._failure = ""

    def copy(self) -> None:
        """Copy each file that has changed since the last time; a link is nobody's figures, and stays here."""
        files, failure, began = [], "", time.monotonic()
        try:
            files = self._files()
        except OSError as error:  # a folder went meanwhile
            failure = str(error)
        for path in files:
            try:
                self._bring(path, path.relative_to(self._folder))
            except Exception as error:  # of many kinds: the store's, boto3's, a file that has gone
                failure = failure or " ".join(str(error).split())
                if time.monotonic() - began > PATIENCE_SECONDS:
                    break
        if failure not in ("", self._failure):
            say(f"Weights & Biases: its runs cannot be copied, training goes on: {failure}")
        self._failure = failure

    def _files(self) -> list[Path]:
        """Of all runs, what holds their figures first."""
        runs = [run for run in self._folder.glob(RUNS) if not run.is_symlink()]
        found = [path for run in runs for path in run.rglob("*") if not path.is_symlink() and path.is_file()]
        kept = [path for path in found if not _LEFT_OUT & set(path.relative_to(self._folder).parts[1:-1])]
        return sorted(kept, key=lambda path: (path.suffix != FIGURES, path))

    def _bring(self, path: Path, below: Path) -> None:
        found = path.stat()
        state = found.st_size, found.st_mtime_ns
        if self._copied.get(below) == state:
            return
        if self._store is None:
            self._store = open_store(self._place)
        name = below.as_posix()
        before = self._store.read(name)
        self._store.replace(name, path.read_bytes(), before.tag if before else None)
        self._copied[below] = state
