"""Networks by name, from timm, with normalization that does not depend on the number of hosts.

BatchNorm computes its statistics over the images that are in one process: over several hosts it would train
another model than on one. So a network that is trained from the start gets GroupNorm instead, and one that
starts from given weights keeps their statistics unchanged.
https://huggingface.co/docs/timm/reference/models
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.common.manifest import ModelError, Norm

GROUPS = 8


def timm_library() -> Any:
    """timm, which imports torchvision, whose build on PyPI needs CUDA to be there.

    Elsewhere its operators do not exist, and it fails when it describes two of them. Declared, but without
    a body, they let it be imported; neither timm's networks nor this project calls them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}() -> Tensor")
        import torchvision

        torchvision.declared_operators = library  # they vanish with it
    import timm

    return timm


def create(backbone: str, classes: int, norm: Norm) -> nn.Module:
    """The network timm calls `backbone`, with random weights, for RGB images.

    Raises ModelError for a name that timm does not know, a network that it cannot make here, and one that
    with norm `group` would still look at whole batches.

    >>> network = create("test_resnet", classes=3, norm="group")
    >>> network(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 3])
    """
    timm = timm_library()
    if not timm.is_model(backbone):
        close = ", ".join(timm.list_models(f"*{backbone[:6]}*")[:5]) or "resnet10t, tf_efficientnet_lite0"
        raise ModelError(f"backbone {backbone[:80]!r} is not known to timm; there is {close}")
    try:
        network: nn.Module = timm.create_model(backbone, pretrained=False, num_classes=classes)
    except Exception as error:  # of any kind: a tag that it has not, a package that is missing
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"backbone {backbone[:80]!r} cannot be made by timm: {reason}") from error
    if norm == "group":
        _replace_batch_norm(network)
        left = next((module for module in network.modules() if isinstance(module, _BatchNorm)), None)
        if left is not None:
            raise ModelError(
                f"backbone {backbone[:80]!r} looks at whole batches ({type(left).__name__}): the model would "
                "depend on the number of hosts; choose another, or start from given weights"
            )
    return network


def freeze_statistics(network: nn.Module) -> None:
    """Call after each `network.train()`: what BatchNorm knows from the weights it started with stays."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _replace_batch_norm(module: nn.Module) -> None:
    from timm.layers import BatchNormAct2d, GroupNormAct

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            norm: Any = GroupNormAct(channels, math.gcd(channels, GROUPS), eps=child.eps, apply_act=False)
            if isinstance(child, BatchNormAct2d):
                norm.drop, norm.act = child.drop, child.act
            norm.load_state_dict({"weight": child.weight, "bias": child.bias})  # some start at zero
            setattr(module, name, norm)
        else:
            _replace_batch_norm(child)
