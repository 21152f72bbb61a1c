"""Where the hosts of elastic jobs meet: a store of a few keys, on one port, apart from all of them.

    python -m training.rendezvous --port 29400 [--own-address]

One serves any number of jobs. It keeps nothing: when it is lost, the hosts of all jobs write a checkpoint and
end, to be started again. SIGTERM ends it. With `--own-address` it listens at the address of this host's name
alone, else at all addresses.

Apart from the trainer, `training.vision`, and without its packages: PyTorch's store is all it needs, and a
change of the trainer is no reason to start it anew.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from typing import Any

from torch import distributed

from training.common.arguments import Parser
from training.common.failure import UserError, run, say

PORT = 29400


def main(arguments: Sequence[str]) -> None:
    parser = Parser("rendezvous")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--own-address", action="store_true")
    options = parser.parse_args(list(arguments))
    port = options.port
    try:
        store = _store(port, own_address=options.own_address)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise UserError(f"rendezvous: port {port} cannot be used: {error}") from error
    say(f"rendezvous on port {store.port}")
    while True:
        signal.pause()


def _store(port: int, *, own_address: bool) -> Any:
    settings = {"is_master": True, "wait_for_workers": False}
    if not own_address:
        # It listens on all interfaces; this is how it reaches itself.
        return distributed.TCPStore("127.0.0.1", port, **settings)
    address = socket.gethostbyname(socket.gethostname())
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        port = listening.getsockname()[1]
        return distributed.TCPStore(address, port, master_listen_fd=listening.detach(), **settings)


if __name__ == "__main__":
    raise SystemExit(run(main))
