"""How much a container instance of an EC2 instance type offers to tasks.

https://aws.amazon.com/ec2/instance-types/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Of the nominal memory, what is left to tasks beside the kernel and the agent; AWS has it a little higher.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/memory-management.html
_TO_TASKS = 0.94
_GIB_PER_CPU = {"c": 2, "m": 4, "r": 8}
_BURSTABLE = {"micro": (2, 1), "small": (2, 2), "medium": (2, 4), "large": (2, 8), "xlarge": (4, 16),
              "2xlarge": (8, 32)}  # fmt: skip
_ONE_GPU = {"xlarge": (4, 16, 1), "2xlarge": (8, 32, 1), "4xlarge": (16, 64, 1), "8xlarge": (32, 128, 1),
            "16xlarge": (64, 256, 1), "12xlarge": (48, 192, 4)}  # fmt: skip
_GPU = {
    "g4dn": _ONE_GPU | {"metal": (96, 384, 8)},
    "g5": _ONE_GPU | {"24xlarge": (96, 384, 4), "48xlarge": (192, 768, 8)},
    "g6": _ONE_GPU | {"24xlarge": (96, 384, 4), "48xlarge": (192, 768, 8)},
    "p3": {"2xlarge": (8, 61, 1), "8xlarge": (32, 244, 4), "16xlarge": (64, 488, 8)},
    "p4d": {"24xlarge": (96, 1152, 8)},
    "p5": {"48xlarge": (192, 2048, 8)},
}
_SIZE = re.compile(r"(?:(\d+)x)?large")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """`cpu` in units of 1/1024 of a processor, `memory` in MiB."""

    cpu: int
    memory: int
    gpus: int = 0


def _offered(cpus: int, gibibytes: float, gpus: int = 0) -> Resources:
    return Resources(cpu=cpus * 1024, memory=int(gibibytes * 1024 * _TO_TASKS), gpus=gpus)


# Of an instance type that is not known here: room for any one task of the usual sizes.
UNKNOWN = _offered(16, 64, 8)


def resources_of(instance_type: str) -> Resources:
    """What an instance type offers.

    Example:
        >>> resources_of("g5.12xlarge").gpus
        4
    """
    family, _, size = instance_type.partition(".")
    if family in _GPU and size in _GPU[family]:
        return _offered(*_GPU[family][size])
    if re.fullmatch(r"t[234][ag]?", family) and size in _BURSTABLE:
        return _offered(*_BURSTABLE[size])
    general, found = re.fullmatch(r"([cmr])\d[a-z]*", family), _SIZE.fullmatch(size)
    if general is None or (found is None and size != "xlarge"):
        return UNKNOWN
    cpus = 4 if size == "xlarge" else 4 * int(found[1]) if found and found[1] else 2
    return _offered(cpus, cpus * _GIB_PER_CPU[general[1]])
