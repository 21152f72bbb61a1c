"""What endpoints, their scaling and their deployer can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.registry import ModelRegistry

# Families with local NVMe storage: it is encrypted in hardware and of a fixed size, and SageMaker refuses a
# key or a volume size. A `d` in the family says so (m5d, g4dn, p4d, dl1); of these, every type has it.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (KmsKeyId)
_NVME_FAMILIES = ("g5", "g6", "g7", "gr6", "p5", "p6", "trn")
_DEFAULT_VOLUME_GIB = 30
_INSTANCE = re.compile(r"ml(\.[a-z0-9-]+){2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The production variant of an endpoint.

    Args:
        instance_type: For example `ml.m5.large`.
        initial_instances: Instances at creation; afterwards scaling decides.
        volume_gib: Storage for models of each instance, 30 by default; models beyond it are evicted and
            loaded again. Only for types without local storage, which has a size of its own.
        name: Name of the variant. It must stay the same over updates, since scaling refers to it.

    Raises:
        ValueError: Not an instance type, a number below 1, or a volume for a type with local storage.
    """

    instance_type: str = "ml.m5.large"
    initial_instances: int = 1
    volume_gib: int | None = None
    name: str = "AllTraffic"

    def __post_init__(self) -> None:
        if not _INSTANCE.fullmatch(self.instance_type):
            raise ValueError(f"Variant.instance_type {self.instance_type!r} is not of the form ml.m5.large")
        if self.initial_instances < 1 or (self.volume_gib is not None and self.volume_gib < 1):
            raise ValueError("Variant.initial_instances and Variant.volume_gib must be at least 1")
        if self.local_storage and self.volume_gib is not None:
            raise ValueError(
                f"Variant.volume_gib is {self.volume_gib}, but {self.instance_type} has local storage of a "
                "fixed size, and SageMaker refuses any other; leave it out"
            )

    @property
    def local_storage(self) -> bool:
        """Whether models lie on the instance's own NVMe, encrypted in hardware, instead of on a volume."""
        family = self.instance_type.split(".")[1]
        return "d" in family or family.startswith(_NVME_FAMILIES)

    @property
    def ebs_gib(self) -> int | None:
        """Size of the volume of each instance; None where there is none."""
        return None if self.local_storage else self.volume_gib or _DEFAULT_VOLUME_GIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """How a changed image or instance type replaces the old fleet: blue/green, back at once on server errors.

    Args:
        canary_percent: Share of capacity that takes traffic first; None switches all at once.
        bake_seconds: How long the canary, and then the whole new fleet, is watched.
        error_percent: Share of a minute's requests with a server error that rolls the update back.

    Raises:
        ValueError: A share outside 1 to 50 (SageMaker's limit), a time outside 0 to 3600, or an error share
            outside 0 to 100.
    """

    canary_percent: int | None = None
    bake_seconds: int = 300
    error_percent: float = 5.0

    def __post_init__(self) -> None:
        if self.canary_percent is not None and not 1 <= self.canary_percent <= 50:
            raise ValueError(
                f"Rollout.canary_percent is {self.canary_percent}; SageMaker takes 1 to 50, or None"
            )
        if not 0 <= self.bake_seconds <= 3600:
            raise ValueError(f"Rollout.bake_seconds is {self.bake_seconds}; SageMaker takes 0 to 3600")
        if not 0 < self.error_percent <= 100:
            raise ValueError(f"Rollout.error_percent is {self.error_percent}; give more than 0, at most 100")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Target tracking of an endpoint's variant on invocations per instance.

    Args:
        min_instances: Never fewer.
        max_instances: Never more.
        invocations_per_minute: Load of one instance that is aimed at: measure an instance's limit, take 70 %
            of it.
        scale_out_seconds: Pause after adding instances.
        scale_in_seconds: Pause after removing instances. Short ones save little and flap.

    Raises:
        ValueError: Bounds that contradict each other, or a number below its least.
    """

    min_instances: int = 1
    max_instances: int = 4
    invocations_per_minute: int = 3000
    scale_out_seconds: int = 300
    scale_in_seconds: int = 300

    def __post_init__(self) -> None:
        if self.min_instances < 1:
            raise ValueError(
                f"Scaling.min_instances is {self.min_instances}; a multi-model endpoint keeps at least 1"
            )
        if self.max_instances < self.min_instances:
            raise ValueError(
                f"Scaling.max_instances is {self.max_instances}, below min_instances {self.min_instances}"
            )
        if self.invocations_per_minute < 1:
            raise ValueError(
                f"Scaling.invocations_per_minute is {self.invocations_per_minute}; give at least 1"
            )
        if min(self.scale_out_seconds, self.scale_in_seconds) < 0:
            raise ValueError("Scaling cooldowns must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Where approved versions come from.

    Args:
        registry: The group whose newest approved version is to be served.
        artifacts: Prefix of the data bucket below which its pipeline leaves model archives, which SageMaker
            calls `model.tar.gz`. Nothing else below it is read.
    """

    registry: ModelRegistry
    artifacts: str
