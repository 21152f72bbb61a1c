"""What the construct tells the functions: written by one, read by the other, through this class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Environment of both functions.

    `table_name`: records of jobs, of capacity, and the trainers' reports.
    `state_machine_arn`: of the attempts.
    `dead_letters_url`: where messages go that are no request.
    `cluster`: ARN of the ECS cluster.
    `task_definition`: ARN of the trainer's; `container` is the name of its container.
    `subnets`, `security_groups`: of the tasks.
    `capacity_providers`: the first is asked first, the next after an attempt that got no hosts.
    `zones`: of each provider's hosts, by number; hosts that are lost are asked for again in the same zone.
    Empty where all are in one, or have none.
    `distinct_instances`: at most one task of a job on an instance; not for Fargate, which has none.
    `slots`: hosts that all jobs may have together.
    `host_price_usd`: of a host and hour, for budgets and records.
    `rendezvous_endpoint`: `host:port` where the hosts of a gang find each other.
    `processes_per_host`: one for each GPU.
    `output_uri`: `s3://bucket/prefix/`, below which each job has a folder of its own.
    `start_seconds`: after which an attempt whose hosts have not all come lets go of all of them.
    `ask_seconds`, `watch_seconds`, `stop_seconds`: between two questions for slots, two looks at an attempt,
    and two while its hosts end.
    `queue_days`: after which a job that waits for slots fails, and one whose attempts never get their hosts.
    `stall_seconds`: without a new step, checkpoint or host, after which an attempt ends as stalled.
    `silent_seconds`: after which a host whose agent ECS does not hear counts as lost.
    `end_seconds`: after which hosts that were told to end are taken away.
    `most_rounds`: steps of one execution; a standard one ends at 25,000 events, and a step takes about ten.
    `model_groups`: names of the groups in which a job may have its models registered.
    `serving_image`: URI of the image that serves them.
    `driver_arn`: state machine of a single host (`modelyard.training.TrainingInstance`), empty without one.
    `instance_price_usd`: of that host and hour.
    """

    table_name: str
    state_machine_arn: str
    dead_letters_url: str
    cluster: str
    task_definition: str
    container: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    capacity_providers: tuple[str, ...]
    slots: int
    output_uri: str
    rendezvous_endpoint: str
    distinct_instances: bool = True
    host_price_usd: float = 0.0
    processes_per_host: int = 1
    start_seconds: int = 900
    ask_seconds: int = 30
    watch_seconds: int = 15
    stop_seconds: int = 5
    queue_days: float = 7.0
    stall_seconds: int = 1800
    silent_seconds: int = 300
    end_seconds: int = 600
    most_rounds: int = 1500
    model_groups: tuple[str, ...] = ()
    serving_image: str = ""
    driver_arn: str = ""
    instance_price_usd: float = 0.0
    zones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("table_name", "cluster", "task_definition", "container"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        for name in ("subnets", "security_groups", "capacity_providers"):
            if not getattr(self, name) or not all(getattr(self, name)):
                raise ValueError(f"{name} is empty or holds an empty name; give at least one")
        if not self.output_uri.startswith("s3://") or not self.output_uri.endswith("/"):
            raise ValueError(f"output_uri is {self.output_uri!r}; give s3://bucket/prefix/")
        if not 1 <= self.ask_seconds <= 120:
            raise ValueError(f"ask_seconds is {self.ask_seconds}; give 1 to 120, or places in the line lapse")
        for name in (
            "slots", "start_seconds", "watch_seconds", "stop_seconds", "processes_per_host",
            "stall_seconds", "silent_seconds", "end_seconds",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if min(self.host_price_usd, self.instance_price_usd, self.queue_days) < 0:
            raise ValueError("host_price_usd, instance_price_usd and queue_days must not be negative")
        if self.model_groups and not self.serving_image:
            raise ValueError("model_groups are given and serving_image is empty; name what serves the models")
        if self.zones and len(self.zones) != len(self.capacity_providers):
            raise ValueError(f"zones has {len(self.zones)} members; give one for each capacity provider")
        if not 2 <= self.most_rounds <= 2000:
            raise ValueError(f"most_rounds is {self.most_rounds}; give 2 to 2000")

    def price(self, *, instance: bool) -> float:
        """USD of a host and hour, of a single host or of one of the cluster."""
        return self.instance_price_usd if instance else self.host_price_usd

    def provider(self, first: int, elsewhere: int) -> int:
        """Number of the capacity provider to ask.

        Args:
            first: Whom the attempt asked for all its hosts; counts on beyond the last.
            elsewhere: How often hosts did not come that were asked for again. They come from providers of the
                same zone, in turn.

        Example:
            >>> settings.capacity_providers, settings.zones
            (('spot', 'spot-elsewhere', 'on-demand'), (0, 1, 0))
            >>> [settings.provider(0, elsewhere) for elsewhere in range(3)]
            [0, 2, 0]
        """
        count = len(self.capacity_providers)
        zones = self.zones or (0,) * count
        turn = [number % count for number in range(first, first + count)]
        near = [number for number in turn if zones[number] == zones[turn[0]]]
        return near[elsewhere % len(near)]

    def to_environment(self) -> dict[str, str]:
        """One variable; CloudFormation fills in what is known at deployment only."""
        return {"SETTINGS": json.dumps(asdict(self), separators=(",", ":"))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Reverse of `to_environment`. Raises KeyError for what is missing, ValueError for what is wrong."""
        members = json.loads(environment["SETTINGS"])
        for name in ("subnets", "security_groups", "capacity_providers", "model_groups", "zones"):
            members[name] = tuple(members[name])
        return cls(**members)
