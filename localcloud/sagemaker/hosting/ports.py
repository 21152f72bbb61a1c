"""Ports for servers of other processes."""

from __future__ import annotations

import socket
import sys


class Port:
    """A port of 127.0.0.1 on which nobody listens; call `release` once its server has ended.

    Between the choice of a port and the server's `bind` another program could be given it. On Linux a bound
    socket that does not listen prevents that: the kernel gives the port to nobody who asks for any, while a
    server that sets SO_REUSEADDR, as web servers do, listens on it all the same (socket(7)).

    Args:
        kept: whether to prevent it; a server without SO_REUSEADDR needs the port unkept.

    Example:
        >>> port = Port()
        >>> subprocess.run(["uvicorn", "app:app", "--port", str(port.number)])
        >>> port.release()
    """

    def __init__(self, *, kept: bool = True) -> None:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number: int = self._holder.getsockname()[1]
        # Elsewhere two sockets are not bound to one address, whether they listen or not.
        if not kept or sys.platform != "linux":
            self.release()

    def release(self) -> None:
        """Let go of it; twice does no harm."""
        self._holder.close()
