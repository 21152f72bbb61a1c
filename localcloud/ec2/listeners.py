"""Opens the sockets of a host's network and hands them over. Started as `python -m ... '<JSON>'`.

A socket belongs to the network in which it was made, whoever listens on it afterwards: so the cloud answers
at addresses of a host without being on it.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys

from localcloud.containers.launcher import join_network

_SET_ADDRESS, _SET_MASK = 0x8916, 0x891C  # SIOCSIFADDR, SIOCSIFNETMASK


def main() -> None:
    """Join the network, give it its addresses, listen, and send the sockets to the parent."""
    settings = json.loads(sys.argv[1])
    with socket.socket(fileno=settings["channel"]) as channel:
        try:
            join_network(settings["network"])
            for place, address in enumerate(settings["addresses"], 1):
                _add(f"lo:{place}", address)
            made = [_listening(socket.AF_INET, tuple(place)) for place in settings["places"]]
            made.append(_listening(socket.AF_UNIX, settings["desk"].encode()))
        except OSError as error:
            channel.send(f"a host's addresses could not be made: {error}".encode())
            sys.exit(1)
        socket.send_fds(channel, [b"ok"], [one.fileno() for one in made])


def _add(name: str, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for operation, value in ((_SET_ADDRESS, address), (_SET_MASK, "255.255.255.255")):
            packed = struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, operation, packed)


def _listening(family: int, place: tuple[str, int] | bytes) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind(place)
    made.listen(64)
    return made


if __name__ == "__main__":
    main()
