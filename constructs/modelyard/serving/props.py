"""What endpoints, their scaling and their deployer can be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelyard.storage.props import check_folder

if TYPE_CHECKING:
    from modelyard.registry import ModelRegistry

# Families with local NVMe storage: it is encrypted in hardware and of a fixed size, and SageMaker refuses a
# key or a volume size. A `d` in the family says so (m5d, g4dn, p4d, dl1); of these, every type has it.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (KmsKeyId)
_NVME_FAMILIES = ("g5", "g6", "g7", "gr6", "p5", "p6", "trn")
_DEFAULT_VOLUME_GIB = 30
_INSTANCE = re.compile(r"ml(\.[a-z0-9-]+){2}")
# https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
_SCHEDULE = re.compile(r"cron\(\S+( \S+){5}\)|rate\(\d+ (minute|hour|day)s?\)|at\([\d-]{10}T[\d:]{8}\)")
_ZONE = re.compile(r"[A-Za-z]+(/[A-Za-z0-9_+-]+){0,2}")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CaptureContentTypeHeader.html
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*/[A-Za-z0-9][A-Za-z0-9.-]*")
_MOST_CONTENT_TYPES = 10
# For the start of the new fleet, beside the times in which it is watched.
_START_SECONDS = 1800


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

    @property
    def limit_seconds(self) -> int:
        """After which an update that is not complete goes back: its bakes and half an hour for the start."""
        return self.bake_seconds * (2 if self.canary_percent else 1) + _START_SECONDS

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
class DataCapture:
    """Copies of requests and answers in the data bucket, for a look at drift or at what a model said.

    What callers send may be personal data: choose the share, the expiry (`Lifecycle.expire_days` of the
    bucket for `prefix`, which an environment must set) and who may read the prefix with that in mind.

    Args:
        percent: Share of the requests that is kept, 1 to 100.
        input, output: Whether requests and answers are kept.
        prefix: Of the data bucket; SageMaker writes below
            `<prefix><endpoint>/<variant>/<yyyy>/<mm>/<dd>/<hh>/`.
        csv_content_types, json_content_types: Content types kept as text; all others as base64.

    Raises:
        ValueError: A share outside 1 to 100, neither input nor output, not a folder, or what is no content
            type or more than ten of them.
    """

    percent: int = 10
    input: bool = True
    output: bool = True
    prefix: str = "captures/"
    csv_content_types: Sequence[str] = ("text/csv",)
    json_content_types: Sequence[str] = ("application/json", "application/jsonlines")

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise ValueError(f"DataCapture.percent is {self.percent}; give 1 to 100, or no DataCapture")
        if not (self.input or self.output):
            raise ValueError("DataCapture keeps neither input nor output; set one, or give no DataCapture")
        check_folder(self.prefix)
        for name in ("csv_content_types", "json_content_types"):
            kinds = getattr(self, name)
            wrong = [kind for kind in kinds if not _CONTENT_TYPE.fullmatch(kind)]
            if wrong or not 1 <= len(kinds) <= _MOST_CONTENT_TYPES:
                raise ValueError(
                    f"DataCapture.{name} is {list(kinds)}; give 1 to {_MOST_CONTENT_TYPES} content types "
                    "such as text/csv, without parameters"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledBounds:
    """Other bounds from a time on, until the next schedule: more instances before the working day begins.

    Args:
        name: Of the action, unique for its target.
        schedule: `cron(30 6 ? * MON-FRI *)` (minutes, hours, day of month, month, day of week, year),
            `rate(1 day)` or `at(2030-01-01T06:30:00)`.
        timezone: IANA name in which the clock of `cron` and `at` runs, for example `Europe/Berlin`.
        min_instances, max_instances: The new bounds; both, since an action that sets only one may
            contradict what another has set.

    Raises:
        ValueError: Not a schedule or time zone, or bounds that contradict each other.
    """

    name: str
    schedule: str
    min_instances: int
    max_instances: int
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        where = f"ScheduledBounds {self.name!r}"
        if not self.name.strip():
            raise ValueError("ScheduledBounds.name is empty; name what it is for, such as 'Morning'")
        if not _SCHEDULE.fullmatch(self.schedule):
            raise ValueError(
                f"{where}: {self.schedule!r} is no schedule; write cron(30 6 ? * MON-FRI *), rate(1 day) or "
                "at(2030-01-01T06:30:00)"
            )
        if not _ZONE.fullmatch(self.timezone):
            raise ValueError(f"{where}: {self.timezone!r} is no time zone such as Europe/Berlin")
        if not 1 <= self.min_instances <= self.max_instances:
            raise ValueError(
                f"{where}: {self.min_instances} to {self.max_instances} instances; give at least 1, and not "
                "less at most than at least"
            )


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
        schedules: Times at which other bounds begin to hold. Target tracking goes on within them.

    Raises:
        ValueError: Bounds that contradict each other, a number below its least, or schedules of one name.
    """

    min_instances: int = 1
    max_instances: int = 4
    invocations_per_minute: int = 3000
    scale_out_seconds: int = 300
    scale_in_seconds: int = 300
    schedules: Sequence[ScheduledBounds] = ()

    def __post_init__(self) -> None:
        names = [one.name for one in self.schedules]
        if len(set(names)) != len(names):
            raise ValueError(f"Scaling.schedules have names twice: {', '.join(names)}; give each its own")
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
        also: Further such prefixes, of training jobs that register models in the same group.
    """

    registry: ModelRegistry
    artifacts: str
    also: Sequence[str] = ()
