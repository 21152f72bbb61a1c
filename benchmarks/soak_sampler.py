"""Looks at a cloud's processes every two seconds, in a process of its own: callers' threads do not delay it.

    with Sampler(cloud_pid, {"my-function-1A2B": "inference function"}) as sampler:
        ...
    samples, machine = sampler.read(since)

It reads the cloud's own tree alone, from /proc: the work does not depend on what else runs. Zombies
have no memory and no handles, and are left out.

A connection is a handle of who opened it, and of who took it only once the other end is gone: callers keep
theirs open for as long as they like, what is forgotten after their end is a leak.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.growth import Sample
from benchmarks.harness import ROOT

EVERY_S = 2.0
SERVERS, TRIAL, CLOUD, CLIENT = "model server", "model trial", "local cloud", "client"
_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_ESTABLISHED, _LISTENS = b"01", b"0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The machine at a moment: load average of a minute, seconds that a hypervisor took from it so far."""

    at: float
    load: float
    steal_s: float


class Sampler:
    """Samples from entering its block to leaving it.

    Args:
        cloud: process of the local cloud.
        functions: physical names of functions -> their roles.
    """

    def __init__(self, cloud: int, functions: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", "benchmarks.soak_sampler", str(cloud), str(os.getpid())]
        self._command.append(json.dumps(dict(functions)))
        self._lines: list[dict[str, Any]] = []

    def __enter__(self) -> Sampler:
        self._out = tempfile.TemporaryFile()
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=self._out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._out:
            self._process.communicate(timeout=30)
            self._out.seek(0)
            self._lines = [json.loads(line) for line in self._out]
        if self._process.returncode and error is None:
            raise RuntimeError(f"the sampler ended with {self._process.returncode}")

    def read(self, since: float) -> tuple[list[Sample], list[Moment]]:
        """What was seen, with times in seconds since a moment of `time.monotonic`."""
        samples = [Sample(**each) for line in self._lines for each in line["samples"]]
        return (
            [_later(each, since) for each in samples],
            [_later(Moment(**line["machine"]), since) for line in self._lines],
        )


def _later(each: Any, since: float) -> Any:
    return type(each)(**{**asdict(each), "at": each.at - since})


def look(cloud: int, client: int, functions: Mapping[str, str], at: float) -> list[Sample]:
    """All processes of the cloud that have a role, and the client."""
    found = [_sample(cloud, CLOUD, at), _sample(client, CLIENT, at)]
    found += [_sample(pid, role, at) for pid, role in _below(cloud, None, False, functions)]
    return [each for each in found if each is not None]


def _below(
    pid: int, role: str | None, sets_up: bool, functions: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """What a process started, with roles: a process has its parent's, unless it has one of its own."""
    for child in _children(pid):
        command = _read(child, "cmdline").split(b"\0")
        environment = _environment(child)
        setting_up = any(word.endswith(b"containers/launcher.py") for word in command)
        its = role
        if role is None and environment.get("AWS_LAMBDA_FUNCTION_NAME") in functions:
            its = functions[environment["AWS_LAMBDA_FUNCTION_NAME"]]
        elif role is None and sets_up and not setting_up and "SAGEMAKER_BIND_TO_PORT" in environment:
            its = SERVERS
        elif role == SERVERS and b"training.serving.trial" in command:
            its = TRIAL
        if its is not None:
            yield child, its
        yield from _below(child, its, setting_up, functions)


def _children(pid: int) -> list[int]:
    try:
        tasks = [task.name for task in (_PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []
    return [int(child) for task in tasks for child in _read(pid, f"task/{task}/children").split()]


def _environment(pid: int) -> dict[str, str]:
    pairs = (entry.partition(b"=") for entry in _read(pid, "environ").split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it ended, or is another user's
        return b""


def _sample(pid: int, role: str, at: float) -> Sample | None:
    # After the name, which may hold anything: state, parent, ... as proc(5) counts them from the third.
    members = _read(pid, "stat").rpartition(b")")[2].split()
    if not members or members[0] in (b"Z", b"X"):
        return None
    handles = _handles(pid)
    if handles is None:
        return None
    return Sample(
        at=at,
        pid=pid,
        role=role,
        rss_mb=int(members[21]) * _PAGE / 1e6,
        handles=handles,
        threads=int(members[17]),
        cpu_s=(int(members[11]) + int(members[12])) / _TICK,
    )


def _handles(pid: int) -> int | None:
    """Open ones, less the connections that others opened and keep; None of a process that has ended."""
    names = []
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                names.append(os.readlink(entry))  # noqa: PTH115
    except OSError:
        return None
    own = {name for name in names if name.startswith("socket:")}
    # sl, local address, remote address, state, three more, uid, timeout, inode: proc_net_tcp of Linux.
    lines = [line.split() for table in ("net/tcp", "net/tcp6") for line in _read(pid, table).splitlines()[1:]]
    sockets = [(line[1].rpartition(b":")[2], line[3]) for line in lines if f"socket:[{int(line[9])}]" in own]
    ports = {port for port, state in sockets if state == _LISTENS}
    return len(names) - sum(state == _ESTABLISHED and port in ports for port, state in sockets)


def machine(at: float) -> Moment:
    """The machine now."""
    cpu = (_PROC / "stat").read_text().splitlines()[0].split()
    return Moment(at=at, load=os.getloadavg()[0], steal_s=int(cpu[8]) / _TICK)


def main(cloud: int, client: int, functions: Mapping[str, str]) -> None:
    """Write a line every two seconds until standard input is closed."""
    due = time.monotonic()
    while True:
        at = time.monotonic()
        samples = [asdict(each) for each in look(cloud, client, functions, at)]
        print(json.dumps({"machine": asdict(machine(at)), "samples": samples}), flush=True)
        due = max(due + EVERY_S, time.monotonic())
        if select.select([0], [], [], due - time.monotonic())[0]:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
