"""The figures of a training for Weights & Biases, if the job asks for it. https://docs.wandb.ai

The package works in a process of its own, which reads lines from a pipe: whatever it does, a missing package,
an unreachable server, a hang, a crash, training neither waits for it nor ends. Offline, which is the default,
it writes a folder (WANDB_DIR) that `wandb sync` uploads later; WANDB_MODE=online sends at once. Without an
answer from the server it falls back to the folder.

This file is run as a program too, and so imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

INIT_SECONDS, FINISH_SECONDS, CLOSE_SECONDS = 10, 8, 20
MODE, FOLDER = "WANDB_MODE", "WANDB_DIR"
OFFLINE = "offline"
_started: list[subprocess.Popen[bytes]] = []


class WeightsAndBiases:
    """A run of it.

    Args:
        begin: what the run is told first: project, group, name and config.
        say: takes one line for the log.
        command: of the process that reads the pipe.
    """

    def __init__(
        self, begin: Mapping[str, Any], say: Callable[[str], None], command: Iterable[str] = ()
    ) -> None:
        self._say = say
        self.dropped = 0
        # Alone: modules beside this file must not take the place of others.
        program = tuple(command) or (sys.executable, "-P", str(Path(__file__).resolve()))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        except OSError as error:
            say(f"Weights & Biases cannot be started, training goes on without it: {error}")
            return
        _started.append(self._process)
        assert self._process.stdin
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self.log(begin)

    def log(self, members: Mapping[str, Any]) -> None:
        """Hand over plain values, or forget them when nobody takes them; never waits."""
        if self._process is None:
            return
        data = json.dumps(members).encode() + b"\n"
        try:
            # Up to 4,096 bytes a pipe takes all or nothing; the first line finds it empty.
            if os.write(self._pipe, data) < len(data):
                self._give_up("a line did not fit into the pipe")
        except BlockingIOError:
            self.dropped += 1
        except OSError:
            self._give_up("")

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let it end its run; after `seconds` it is ended. With 0 it is left to end by itself, in seconds."""
        if self._process is None:
            return
        if self.dropped:
            self._say(f"Weights & Biases was too slow: {self.dropped} lines were left out")
        self._close_pipe()
        if not seconds:
            self._process = None
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._say(f"Weights & Biases did not end within {seconds:g} s; its last figures may be missing")
        self._end()

    def _give_up(self, reason: str) -> None:
        process = self._process
        assert process
        self._close_pipe()
        if not reason:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            reason = f"its process ended with code {process.returncode}"
        self._end()
        self._say(f"Weights & Biases is off, training goes on without it: {reason}")

    def _close_pipe(self) -> None:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def await_ended(seconds: float) -> None:
    """Wait, so long at most, until the runs that this process began, and closed, have ended."""
    deadline = monotonic() + seconds
    with contextlib.suppress(subprocess.TimeoutExpired):
        for process in _started:
            process.wait(max(0.0, deadline - monotonic()))


def main(lines: Iterable[str]) -> int:
    """The process: the first line begins the run, each other is logged, the end of them ends it."""
    # A host that is stopped tells all processes; this one ends when the trainer, which it reads from, has.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    try:
        import wandb
    except ImportError as error:
        _tell(f"the package wandb is not there ({error}); pip install wandb")
        return 3
    source = iter(lines)
    begin = json.loads(next(source))
    run = _begin(wandb, begin, os.environ.get(MODE) or OFFLINE)
    for line in source:
        members = json.loads(line)
        run.log(members, step=members.pop("step", None))
    # A server that does not answer is waited for without an end.
    timer = threading.Timer(FINISH_SECONDS, os._exit, (4,))
    timer.daemon = True
    timer.start()
    run.finish()
    wandb.teardown()
    return 0


def _begin(wandb: Any, begin: Mapping[str, Any], mode: str) -> Any:
    settings = wandb.Settings(
        init_timeout=INIT_SECONDS, silent=True, console="off", disable_git=True, x_disable_stats=True
    )
    try:
        return wandb.init(**begin, mode=mode, settings=settings)
    except Exception as error:  # of many kinds: the network's, the server's, the package's
        if mode == OFFLINE:
            raise
        _tell(f"no connection, written to a folder instead: {type(error).__name__}: {error}")
        return wandb.init(**begin, mode=OFFLINE, settings=settings)


def _tell(line: str) -> None:
    sys.stderr.write(f"Weights & Biases: {' '.join(line.split())}\n")


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.stdin)
    except Exception as problem:  # whatever the package raises
        _tell(f"{type(problem).__name__}: {problem}")
    finally:
        # Not through `sys.exit`: what the package registered for the end may wait for its server.
        sys.stderr.flush()
        os._exit(code)
