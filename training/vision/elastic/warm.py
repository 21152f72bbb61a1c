"""Imported once on each host, before ranks fork: they start in a moment, not in seconds."""

from __future__ import annotations


def warm() -> None:
    """Load now what the first step would."""
    import torch._dynamo
    import torch._inductor.config

    import training.vision.train  # noqa: F401  with all that it imports
    from training.common.backbones import timm_library

    timm_library()
    if torch.cuda.is_initialized():
        raise RuntimeError("ranks cannot fork from a process that uses CUDA")


warm()
