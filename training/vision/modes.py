"""How steps are computed: the same to the bit each time or as fast as can be, as written or compiled."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from training.common.failure import UserError
from training.vision.config import Config


@contextlib.contextmanager
def computing(config: Config) -> Iterator[None]:
    """Compute as `config.deterministic` says.

    Raises:
        UserError: with `require`, an operation has no implementation that gives the same each time.

    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    exact = config.deterministic != "off"
    torch.use_deterministic_algorithms(exact, warn_only=config.deterministic == "prefer")
    # By default each new tensor is written once more, lest somebody read it before he writes; nobody does.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # The fastest algorithm is found by trying, and may be another one each time.
    torch.backends.cudnn.benchmark = not exact
    if exact:
        # Read when CUDA begins; cuBLAS adds in another order each time without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        yield
    except RuntimeError as error:
        if config.deterministic != "require" or "deterministic" not in str(error):
            raise
        reason = str(error).partition(",")[0].partition(".")[0]
        raise UserError(
            f"deterministic=require cannot be had with backbone {config.backbone}: {reason}; "
            "choose another backbone, or deterministic=prefer"
        ) from error


def mixes(device: Any) -> bool:
    """Whether a device computes in bfloat16 what does not need more; one that only imitates it is slower.

    https://docs.pytorch.org/docs/stable/amp.html
    """
    return bool(device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))


def compiled(network: Any, config: Config, device: Any) -> Any:
    """The network, compiled if `config.compile` says so; evaluation uses it as it was.

    Raises:
        UserError: PyTorch cannot compile on this machine.

    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    """
    if not config.compile:
        return network
    try:
        # What is missing shows with the first operation, before anything has been trained.
        torch.compile(lambda value: value * 2 + 1)(torch.ones(4, device=device))
    except Exception as error:  # of many kinds: dynamo's, inductor's, the compiler's
        reason = " ".join(str(error).strip().partition("\n")[0].split())[:200]
        raise UserError(
            f"compile=1 cannot be had on this machine: {reason}; install a compiler of C++ (g++), "
            "or use compile=0"
        ) from error
    return torch.compile(network)
