"""Machines on a network of their own, whose lines can be cut: namespaces of Linux on one bridge.

Needs `ip` and what `unshare --net` needs: root, or a kernel that gives namespaces to users. Where there are
no namespaces, `network` says so and a test has to cut a line in another way; where there are, it has to be
this one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Iterator

SUBNET = "10.77.0"
SWITCH = f"{SUBNET}.254"
# root needs no namespace of users, in which the files of others would be closed to it.
USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
ENTER_USER = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]


class Network:
    """A bridge at `SWITCH` and the machines on it."""

    def __init__(self) -> None:
        self._holders = [_hold(["unshare", *USER, "--net"])]
        try:
            self._run("ip", "link", "set", "lo", "up")
            self._run("ip", "link", "add", "switch", "type", "bridge")
            self._run("ip", "addr", "add", f"{SWITCH}/24", "dev", "switch")
            self._run("ip", "link", "set", "switch", "up")
        except OSError:
            self.close()
            raise
        self.inside = self._enter(0)

    def machine(self) -> list[str]:
        """Plug in one more; returns the command that runs a command there."""
        number = len(self._holders)
        self._holders.append(_hold([*self._enter(0), "unshare", "--net"]))
        there, line = str(self._holders[number].pid), f"line{number}"
        self._run("ip", "link", "add", line, "type", "veth", "peer", "name", "eth0", "netns", there)
        self._run("ip", "link", "set", line, "master", "switch", "up")
        inside = self._enter(number)
        for words in (
            f"addr add {SUBNET}.{number}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
        ):
            _call([*inside, "ip", *words.split()])
        return inside

    def cut(self, inside: list[str]) -> None:
        """Nothing goes to this machine, or comes from it, and nothing is told so."""
        self._run("ip", "link", "set", self._line(inside), "nomaster")

    def mend(self, inside: list[str]) -> None:
        """Plug it in again."""
        self._run("ip", "link", "set", self._line(inside), "master", "switch")

    def close(self) -> None:
        """All namespaces go with the last process in them."""
        for holder in self._holders:
            holder.kill()
            holder.communicate()

    def _line(self, inside: list[str]) -> str:
        return next(f"line{n}" for n in range(1, len(self._holders)) if self._enter(n) == inside)

    def _enter(self, number: int) -> list[str]:
        return ["nsenter", "--target", str(self._holders[number].pid), *ENTER_USER, "--net", "--"]

    def _run(self, *command: str) -> None:
        _call([*self._enter(0), *command])


@contextlib.contextmanager
def network() -> Iterator[Network | None]:
    """A network; None where this machine gives no namespaces. OSError where it does, and the rest fails."""
    if reason := refusal():
        warnings.warn(f"no line is cut here, a host stands still instead: {reason}", stacklevel=3)
        yield None
        return
    found = Network()
    try:
        yield found
    finally:
        found.close()


def refusal() -> str:
    """Why this machine gives no namespaces; nothing where it does."""
    try:
        _call(["unshare", *USER, "--net", "true"])
    except OSError as error:
        return str(error)
    return ""


def _hold(command: list[str]) -> subprocess.Popen[str]:
    """A process that keeps a namespace; it is there when this returns. OSError where it cannot be."""
    holder = subprocess.Popen(
        [*command, "sh", "-c", "echo there; exec sleep infinity"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    if holder.stdout.readline() != "there\n":
        raise OSError(holder.communicate()[1].strip())
    return holder


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
