"""The trainer's hyperparameters."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

PACKAGED = "tf_efficientnet_lite0"
CHOICES = {
    "pretrained": ("none", "packaged", "channel"),
    "augment": ("none", "crop", "crop_flip"),
    "deterministic": ("prefer", "require", "off"),
}
IN_S3 = re.compile(r"s3://[^/\s]+/\S+\.(safetensors|tar\.gz)")
# They change how fast it is learned, and roundings: a job may go on with others than it began with.
FREE = frozenset({"micro_batch_size", "compile", "deterministic"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`batch_size`: images a step, of all hosts together. `learning_rate`: at its highest, after
    `warmup_epochs`. `pretrained`: packaged is ImageNet for one backbone, channel a file in channel `weights`,
    or the address in S3 of a .safetensors file or of a job's model.tar.gz.
    `augment`: crop cuts a random part, crop_flip mirrors half of the images as well.

    `micro_batch_size`: images that a process computes at once; of a larger part of the batch it adds up the
    gradients; 0: all. `clip_norm`: a longer gradient is shortened to it; 0: none is. `ema_decay`: of a moving
    average of the weights, which is then what is evaluated and kept; 0: none. `compile`: 1: by torch.compile.
    `deterministic`: prefer takes operations that give the same each time where there are such, require
    refuses others, off takes the fastest.

    `shuffle_mb`: of images that are shuffled together; of a larger dataset blocks of neighbours are, which
    bounds what is read ahead of it from S3; 0: all.

    `checkpoint_steps`, `checkpoint_seconds`: how often a checkpoint is written, by whichever comes first; 0:
    not by this one. `checkpoint_keep`: the last so many stay; `checkpoint_keep_every`: so does the first of
    each so many steps, 0: none of these. The best one always stays."""

    backbone: str = "resnet10t"
    pretrained: str = "none"
    image_size: int = 224
    epochs: int = 10
    warmup_epochs: float = 1.0
    batch_size: int = 256
    learning_rate: float = 0.002896533293199136
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    augment: str = "crop"
    seed: int = 7
    micro_batch_size: int = 0
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    compile: int = 0
    deterministic: str = "prefer"
    shuffle_mb: int = 256
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 60.0
    checkpoint_keep: int = 3
    checkpoint_keep_every: int = 0

    def __post_init__(self) -> None:
        for name in ("image_size", "epochs", "batch_size", "checkpoint_keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        cadence = ("checkpoint_steps", "checkpoint_seconds", "checkpoint_keep_every")
        optional = ("micro_batch_size", "clip_norm", "ema_decay", "shuffle_mb")
        for name in ("warmup_epochs", "weight_decay", "label_smoothing", "seed", *optional, *cadence):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        for name in ("label_smoothing", "ema_decay"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1, got {getattr(self, name)}")
        if self.compile not in (0, 1):
            raise ValueError(f"compile must be 0 or 1, got {self.compile}")
        for name, choices in CHOICES.items():
            value, distant = getattr(self, name), name == "pretrained"
            if value not in choices and not (distant and IN_S3.fullmatch(value)):
                more = ", or s3://bucket/key of a .safetensors file or a model.tar.gz" if distant else ""
                raise ValueError(f"{name} must be one of {', '.join(choices)}{more}, got {value!r}")
        if self.pretrained == "packaged" and self.backbone != PACKAGED:
            raise ValueError(
                f"pretrained=packaged goes with backbone {PACKAGED} only, got {self.backbone!r}; "
                "use pretrained=none, or a file of weights with pretrained=channel"
            )

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, from 0 on: a line up, then half a cosine down.

        >>> config = Config(epochs=2, warmup_epochs=1, learning_rate=1.0)
        >>> [round(config.rate(step, 2), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        share = (step - warmup) / max(1, self.epochs * steps_per_epoch - warmup)
        return self.learning_rate * (1 + math.cos(math.pi * min(1.0, share))) / 2
