"""What a training instance can be told."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.training.props import MOST_ZONES, check_instance_types

# SSM ends a command after two days.
_MOST_HOURS = 47


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceSize:
    """One host for one job.

    Args:
        instance_type: For example `g5.xlarge`.
        spot: Whether it is a Spot host: cheaper, and may be taken away; the job is then started again by
            whoever wants it, and goes on from its checkpoint.
        max_hours: After which the host is ended, whatever the job does. Of an execution started by hand it is
            the budget, at the type's price; a job of `TrainingJobs` is interrupted by it and tried again, and
            has bounds of its own.
        volume_gib: Root volume, for the image and what the job writes.
        zone: Which of the network's zones, from 0.
        shared_memory_mib: /dev/shm of the trainer's container.
        watch_seconds: Between two looks at the job; more where `max_hours` are many, since the history of an
            execution is bounded.
        price_usd: Of the host and hour, for the budgets of jobs and the cost in their records.

    Raises:
        ValueError: A malformed type, a number out of range, or a negative price.
    """

    instance_type: str = "g5.xlarge"
    spot: bool = True
    max_hours: int = 12
    volume_gib: int = 100
    zone: int = 0
    shared_memory_mib: int = 4096
    watch_seconds: int = 30
    price_usd: float = 0.0

    def __post_init__(self) -> None:
        check_instance_types("InstanceSize", [self.instance_type])
        for name, low, high in (
            ("max_hours", 1, _MOST_HOURS),
            ("volume_gib", 30, 16_384),
            ("zone", 0, MOST_ZONES - 1),
            ("shared_memory_mib", 64, 1_048_576),
            ("watch_seconds", 1, 300),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"InstanceSize.{name} is {getattr(self, name)}; give {low} to {high}")
        if self.price_usd < 0:
            raise ValueError(f"InstanceSize.price_usd is {self.price_usd}; give 0 or more")
