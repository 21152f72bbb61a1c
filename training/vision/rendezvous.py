"""Where the hosts of elastic jobs meet: a store of a few keys, on one port, apart from all of them.

    python -m training.vision.rendezvous --port 29400

One serves any number of jobs. It keeps nothing: when it is lost, the hosts of all jobs write a checkpoint and
end, to be started again. SIGTERM ends it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from torch import distributed

from training.common.arguments import Parser
from training.common.failure import UserError, run, say
from training.vision.elastic.settings import PORT


def main(arguments: Sequence[str]) -> None:
    parser = Parser("rendezvous")
    parser.add_argument("--port", type=int, default=PORT)
    port = parser.parse_args(list(arguments)).port
    try:
        # It listens on all interfaces; this is how it reaches itself.
        store = distributed.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"rendezvous: port {port} cannot be used: {error}") from error
    say(f"rendezvous on port {store.port}")
    while True:
        signal.pause()


if __name__ == "__main__":
    raise SystemExit(run(main))
