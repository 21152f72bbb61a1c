"""The network of one host: its own loopback, on which the cloud and the metadata service can be reached.

Nothing else can, in neither direction. `169.254.169.254` is an address of it, so that programs find the
metadata where they look for it.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from localcloud.containers.engine import Engine
from localcloud.containers.network import Network, NetworkError
from localcloud.context import RUN_ID_VARIABLE, Cloud
from localcloud.ec2.desk_address import DESK

METADATA = "169.254.169.254"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """What a host is reached by; `close` gives all of it up."""

    network: Network
    metadata: socket.socket
    cloud: socket.socket
    desk: socket.socket

    def close(self) -> None:
        """Close the sockets; processes keep the network until they end."""
        for one in (self.metadata, self.cloud, self.desk):
            one.close()
        self.network.close()


def make(engine: Engine, cloud: Cloud, address: str) -> HostNetwork:
    """Make a network and listen in it.

    Args:
        engine: whose containers are to join it.
        cloud: whose port is on its loopback.
        address: private one of the host.

    Raises:
        NetworkError: this machine makes none; with the reason.
    """
    if not engine.isolates:
        raise NetworkError("this machine allows no namespaces (unshare --net --mount)")
    network = engine.network()
    try:
        sockets = _listen(network.pid, cloud, address)
    except BaseException:
        network.close()
        raise
    metadata, relay, desk = sockets
    return HostNetwork(network=network, metadata=metadata, cloud=relay, desk=desk)


def _listen(pid: int, cloud: Cloud, address: str) -> list[socket.socket]:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        settings = {
            "channel": theirs.fileno(),
            "network": pid,
            "addresses": [METADATA, address],
            "places": [[METADATA, 80], ["127.0.0.1", port]],
            "desk": DESK,
        }
        done = subprocess.run(
            [sys.executable, "-m", "localcloud.ec2.listeners", json.dumps(settings)],
            env={"PYTHONPATH": str(_ROOT), RUN_ID_VARIABLE: cloud.run_id},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        theirs.close()
        said, descriptors, _flags, _address = socket.recv_fds(ours, 1000, 3)
    if said != b"ok":
        raise NetworkError((said or done.stderr).decode(errors="replace").strip() or "no word of why")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
