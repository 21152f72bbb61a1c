"""`training.rendezvous` from an installation of the trainer, beside which it needs nothing.

python -m training.vision.rendezvous --port 29400 [--own-address]
"""

from __future__ import annotations

from training.common.failure import run
from training.rendezvous import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(run(main))
