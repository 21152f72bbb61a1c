"""What a preprocessing queue can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelyard.storage import IDataBucket
from modelyard.storage.props import check_folder

_DATASET = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html (Fargate)
_SIZES = {
    256: (512, 2048),
    512: (1024, 4096),
    1024: (2048, 8192),
    2048: (4096, 16_384),
    4096: (8192, 30_720),
    8192: (16_384, 61_440),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """A dataset that grows by uploads: `<uploads><class>/<name>.jpg`, prepared for training below `output`.

    Args:
        dataset: Its name in the ledger.
        bucket: Where images are uploaded, with events on EventBridge, as every `DataBucket` has them.
        uploads: Folder in it.
        output: Folder for shards and manifests, of this dataset alone.
        output_bucket: Where that is; `bucket` itself if None.
        image_size: Pixels that a model sees, squared.
        validation_share, test_share: Of the images, for the two held-out splits.
        quarantined_percent: Of an hour's images, from which on somebody is told: of so many that cannot be
            used, the cause is rather one upload than single images.

    Raises:
        ValueError: A malformed name, not folders, an output within the uploads (each shard would be one), or
            shares that leave nothing to train on.
    """

    dataset: str
    bucket: IDataBucket
    uploads: str
    output: str
    output_bucket: IDataBucket | None = None
    image_size: int = 224
    validation_share: float = 0.1
    test_share: float = 0.1
    quarantined_percent: float = 10.0

    def __post_init__(self) -> None:
        if not _DATASET.fullmatch(self.dataset):
            raise ValueError(
                f"ImageFolder.dataset {self.dataset!r}: use up to 64 small letters, digits, '.', '_', '-'"
            )
        check_folder(self.uploads)
        check_folder(self.output)
        if self.output_bucket is None and self.output.startswith(self.uploads):
            raise ValueError(
                f"ImageFolder.output {self.output!r} lies within uploads {self.uploads!r}: each shard would "
                "be an upload; choose another folder"
            )
        if not 8 <= self.image_size <= 1024:
            raise ValueError(f"ImageFolder.image_size is {self.image_size}; give 8 to 1024 pixels")
        shares = (self.validation_share, self.test_share)
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(
                f"ImageFolder has shares {shares}; they must not be negative, and below 1 together"
            )
        if not 0 < self.quarantined_percent <= 100:
            raise ValueError(
                f"ImageFolder.quarantined_percent is {self.quarantined_percent:g}; give more than 0, "
                "100 at most"
            )

    @property
    def target(self) -> IDataBucket:
        """Where shards go."""
        return self.output_bucket or self.bucket


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """The tasks that empty the queue.

    Args:
        most: Never more of them.
        backlog: Messages that wait for each of them, at which another one starts. At 100 images a second and
            CPU, and a minute to start, some minutes' work pays.
        idle_minutes: After which an empty queue has none.
        spot: Whether all but the first run on Fargate Spot, at under half the price: what one of them loses
            to an interruption is done by another. The first does not: Spot may have nothing for hours, and
            ECS goes nowhere else by itself.
        cpu: Units of 1024 to a CPU.
        memory_mib: Beyond it a task is killed.
        batch: Messages that become one set of shards, claimed together.
        visibility_seconds: For which a message is hidden from other workers, unless its worker asks for more,
            which it does every third of it. A message of a worker that died comes back so late.
        attempts: Deliveries of a message before it is set aside.
        oldest_minutes: Age of the oldest message at which an alarm rings. At 100 images a second and
            CPU all eight do a million in ten minutes.

    Raises:
        ValueError: A number out of range, or a size that Fargate has not.
    """

    most: int = 8
    backlog: int = 5000
    idle_minutes: int = 5
    spot: bool = True
    cpu: int = 2048
    memory_mib: int = 4096
    batch: int = 500
    visibility_seconds: int = 120
    attempts: int = 5
    oldest_minutes: int = 60

    def __post_init__(self) -> None:
        for name, low, high in (
            ("most", 1, 1000),
            ("backlog", 1, 120_000),
            ("idle_minutes", 1, 60),
            # SQS lets 120,000 be in flight, and a batch must end within the ledger's time to claim.
            ("batch", 1, 5000),
            ("visibility_seconds", 30, 43_200),
            ("attempts", 1, 1000),
            # SQS keeps messages for 14 days.
            ("oldest_minutes", 1, 20_160),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"Workers.{name} is {getattr(self, name)}; give {low} to {high}")
        least, most = _SIZES.get(self.cpu, (0, 0))
        if not least <= self.memory_mib <= most or (self.memory_mib % 1024 and self.memory_mib != 512):
            raise ValueError(
                f"Workers of {self.cpu} units and {self.memory_mib} MiB: Fargate has no such task; "
                f"{', '.join(f'{cpu} with {low} to {high}' for cpu, (low, high) in _SIZES.items())}, in GiB"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """The deletion of shards that neither the ledger nor a manifest names.

    Args:
        every_days: Between two looks. A shard goes at the second look at the earliest.
        grace_hours: For which nothing must have named a shard, at least a day. Longer than a restore of the
            ledger takes to be noticed: what only the lost records named is garbage then.

    Raises:
        ValueError: A number out of range.
    """

    every_days: int = 7
    grace_hours: int = 72

    def __post_init__(self) -> None:
        if not 1 <= self.every_days <= 31:
            raise ValueError(f"Collection.every_days is {self.every_days}; give 1 to 31")
        if not 24 <= self.grace_hours <= 24 * 365:
            raise ValueError(f"Collection.grace_hours is {self.grace_hours}; give 24 to 8760")
