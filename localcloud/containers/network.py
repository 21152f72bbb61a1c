"""A network that the containers of one job share and nobody else, for as long as the job wants it.

A process that does nothing holds it. Were it the first container's, those that come later would find none
once that had ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType

from localcloud.containers import launcher


class NetworkError(Exception):
    """This machine makes no network for containers."""


class Network:
    """With `pid`, the process that holds it; ends at `close` at the latest, or as a context."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def close(self) -> None:
        """Give it up; containers in it keep it until they end."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hold(environment: Mapping[str, str]) -> Network:
    """Make a network; its process dies with the thread that calls this.

    Args:
        environment: of the process that holds it, such as the marks of the cloud.

    Raises:
        NetworkError: with the system's reason.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", launcher.__file__, json.dumps({"holds": True, "parent": os.getpid()})],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdout is not None
    if (said := process.stdout.readline()) != launcher.HOLDS:
        process.kill()
        said += process.communicate()[0]
        raise NetworkError(said.decode(errors="replace").strip() or "its process ended without a word")
    return Network(process)
