"""The hosts of a job that works as one: they find each other, and none goes on without the others.

    with join(hosts, invitation="port of the tracker") as gang:    # the first host's invitation reaches all
        ...                                                        # if a host is lost, the process ends here

XGBoost's collective notices a lost host only after its own timeout, and the host with the tracker may wait
for ever. So every host keeps a connection to the first one, on which both sides say each second that they
are there. Who is silent or gone is lost: all others end, with that reason as the job's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from training.common.failure import UserError, fail
from training.common.hosts import Hosts

PORT = 9099
BEAT, LEAVE, LOST = b".", b"bye", b"lost "
LINE_BYTES = 1024
VERDICT_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds. join: until all hosts are there. silence: without a sign of life. beat: between two."""

    join: float = 600.0
    silence: float = 30.0
    beat: float = 1.0


@contextlib.contextmanager
def join(hosts: Hosts, invitation: str = "", limits: Limits | None = None) -> Iterator[Gang]:
    """Wait for all hosts of the job, and watch them until the block ends.

    Args:
        hosts: more than one.
        invitation: of the first host: one line that every host gets as `gang.invitation`.
        limits: how long to wait for what.

    Raises:
        UserError: a host did not come in time.
    """
    gang = Gang(hosts, limits or Limits())
    try:
        if hosts.is_first:
            gang.gather(invitation)
        else:
            gang.find()
        gang.watch()
        try:
            yield gang
        except UserError:
            raise
        except Exception:
            # What breaks here first may be the lost host's fault: whoever watches it knows in a moment.
            time.sleep(VERDICT_SECONDS)
            raise
        gang.leave()
    finally:
        gang.close()


class Gang:
    """One host's connections: the first host's to all others, any other's to the first."""

    def __init__(self, hosts: Hosts, limits: Limits) -> None:
        self.hosts = hosts
        self.invitation = ""
        self._limits = limits
        self._peers: dict[str, socket.socket] = {}
        self._left = {name: threading.Event() for name in hosts.names}
        self._closed = threading.Event()
        self._ending = threading.Lock()

    def gather(self, invitation: str) -> None:
        """On the first host: wait for the others, then send them the invitation."""
        deadline = time.monotonic() + self._limits.join
        address = _address(self.hosts.names[0], deadline)
        with socket.create_server((address, PORT), backlog=len(self.hosts.names)) as server:
            while missing := [name for name in self.hosts.names[1:] if name not in self._peers]:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    raise UserError(
                        f"{', '.join(missing)} did not join within {self._limits.join:g} s"
                    ) from None
                connection.settimeout(self._limits.silence)
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    name = _read_line(connection).decode()
                    if name in missing:
                        self._peers[name] = connection
                        continue
                connection.close()
        self.invitation = invitation
        for connection in self._peers.values():
            connection.sendall(invitation.encode() + b"\n")

    def find(self) -> None:
        """On the other hosts: connect to the first one, and wait for its invitation."""
        first = self.hosts.names[0]
        deadline = time.monotonic() + self._limits.join
        while True:
            try:
                address = _address(first, deadline)
                connection = socket.create_connection((address, PORT), timeout=5.0)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{first} did not answer within {self._limits.join:g} s ({error})"
                    ) from error
                time.sleep(0.05)
        self._peers[first] = connection
        connection.sendall(self.hosts.names[self.hosts.rank].encode() + b"\n")
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            self.invitation = _read_line(connection).decode()
        except (OSError, ValueError):
            raise UserError(f"{first} ended before all hosts had joined; see its log") from None

    def watch(self) -> None:
        """From here on a lost host ends this process."""
        for name, connection in self._peers.items():
            connection.settimeout(self._limits.silence)
            threading.Thread(target=self._listen, args=(name, connection), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def leave(self) -> None:
        """Say that this host is done, and wait until the others are: an end before that is a loss."""
        self._send(LEAVE)
        for name in self._peers:
            if not self._left[name].wait(self._limits.join):
                self._end(f"{name} did not finish within {self._limits.join:g} s")

    def close(self) -> None:
        self._closed.set()
        for connection in self._peers.values():
            connection.close()

    def _send(self, line: bytes) -> None:
        for connection in self._peers.values():
            with contextlib.suppress(OSError):  # whoever listens to it notices
                connection.sendall(line + b"\n")

    def _beat(self) -> None:
        while not self._closed.wait(self._limits.beat):
            self._send(BEAT)

    def _listen(self, name: str, connection: socket.socket) -> None:
        try:
            while (line := _read_line(connection)) != LEAVE:
                if line.startswith(LOST):
                    self._end(line.removeprefix(LOST).decode(errors="replace"))
            self._left[name].set()
        except TimeoutError:
            self._end(f"{name} gave no sign of life for {self._limits.silence:g} s")
        except (OSError, ValueError):
            self._end(f"{name} ended before the others were done")

    def _end(self, reason: str) -> None:
        with self._ending:  # one reason only
            if self._closed.is_set():
                return
            self._closed.set()
            self._send(LOST + reason.encode())
            _exit(f"the job lost a host: {reason}; see the log of that host")


def _exit(message: str) -> NoReturn:
    """End now: the main thread may be inside XGBoost, which cannot be interrupted."""
    code = fail(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _address(name: str, deadline: float) -> str:
    """The IPv4 address of a host; on SageMaker names can be asked for before they are known."""
    while True:
        try:
            return socket.gethostbyname(name)
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"the host {name} has no address: {error}") from error
            time.sleep(0.2)


def _read_line(connection: socket.socket) -> bytes:
    """A line without its end; OSError when the connection is gone, ValueError when it is no line."""
    line = b""
    while len(line) < LINE_BYTES:
        byte = connection.recv(1)
        if not byte:
            raise ConnectionResetError("closed")
        if byte == b"\n":
            return line
        line += byte
    raise ValueError("the line is too long")
