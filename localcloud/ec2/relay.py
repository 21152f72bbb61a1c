"""Carries what a host sends to its loopback to the cloud, and back, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

_CHUNK = 256 * 1024


class Relay:
    """Serves from the start until `close`, on a thread of its own.

    Args:
        listening: where connections come in; its owner closes it.
        port: of the cloud, on this machine's loopback.
    """

    def __init__(self, listening: socket.socket, port: int) -> None:
        # A copy: the loop closes what it serves on.
        self._listening, self._port = listening.dup(), port
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="host-relay")
        self._thread.start()

    def close(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, sock=self._listening)
        await self._stopping.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            writer.close()
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    # The other direction may go on.
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
