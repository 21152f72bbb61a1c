"""What a queue of training jobs can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.images import ContainerImage
from modelyard.registry import ModelRegistry


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerTask:
    """The task that trains on one host.

    Args:
        task_definition_arn: Of the trainer's, with its revision.
        container: Name of the container that trains.
        role_arns: Of the definition's task role and execution role, which the tasks are given.
        processes: Of each host: one for each GPU, or one.
        output_uri: `s3://bucket/prefix/`; checkpoints and output of a job are below `<prefix><job>/`.
        rendezvous_endpoint: `host:port` where the hosts of a job find each other.

    Raises:
        ValueError: No roles, or a number below 1.
    """

    task_definition_arn: str
    container: str
    role_arns: Sequence[str]
    output_uri: str
    rendezvous_endpoint: str
    processes: int = 1

    def __post_init__(self) -> None:
        if not self.role_arns:
            raise ValueError("TrainerTask.role_arns is empty; give the roles of the task definition")
        if self.processes < 1:
            raise ValueError(f"TrainerTask.processes is {self.processes}; give at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostPool:
    """The hosts that jobs share.

    Args:
        slots: Hosts that all jobs may have together; the largest size of the providers' groups together.
        subnets: IDs of the subnets of the tasks.
        security_groups: IDs of their security groups.
        capacity_providers: Names; the first is asked first, the next by the attempt after one that got no
            hosts: Spot before on-demand.
        zones: Of each provider's hosts, as numbers, so that hosts that are lost are asked for again where the
            others are: traffic between zones is paid. Empty where all are in one, and on Fargate.
        distinct_instances: At most one task of a job on an instance; False on Fargate. Instances have the
            tag `modelyard:cluster` with the cluster's name, by which those that obey no more are taken away.
        price_usd: Of a host and hour, for budgets and for the cost in the records; 0 where nobody knows it,
            and then a job with a budget is refused, which would never be spent.

    Raises:
        ValueError: Nothing to run on, zones of other providers, or a negative price.
    """

    slots: int
    subnets: Sequence[str]
    security_groups: Sequence[str]
    capacity_providers: Sequence[str]
    zones: Sequence[int] = ()
    distinct_instances: bool = True
    price_usd: float = 0.0

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"HostPool.slots is {self.slots}; give at least 1")
        for name in ("subnets", "security_groups", "capacity_providers"):
            if not getattr(self, name):
                raise ValueError(f"HostPool.{name} is empty; give at least one")
        if self.zones and len(self.zones) != len(self.capacity_providers):
            raise ValueError(f"HostPool.zones has {len(self.zones)}; give one for each capacity provider")
        if self.price_usd < 0:
            raise ValueError(f"HostPool.price_usd is {self.price_usd}; give 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """Where jobs may have their models registered: the best and the last, to be approved by people.

    Args:
        registries: Groups; a job names one of them.
        image: That serves the models.

    Raises:
        ValueError: No groups.
    """

    registries: Sequence[ModelRegistry]
    image: ContainerImage

    def __post_init__(self) -> None:
        if not self.registries:
            raise ValueError("Registration.registries is empty; give at least one group")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often jobs are looked after.

    Args:
        start_seconds: An attempt whose hosts have not all come by then lets go of all of them.
        ask_seconds: Between two questions for slots, 1 to 120.
        watch_seconds: Between two looks at a job that trains.
        stop_seconds: Between two looks at hosts that end.
        sweep_minutes: Between two sweeps for executions that were aborted or broke.
        queue_days: A job that waits for slots longer than this fails, and one whose attempts never get their
            hosts.
        stall_seconds: An attempt that makes no step for so long, saves nothing and gets no host ends as
            stalled, and the next one begins. Longer than the longest evaluation, and than a job takes to its
            first step; three times what the alarm on it waits, so that somebody may look before.
        silent_seconds: A host whose agent ECS has not heard for so long counts as lost and is taken away. An
            agent that comes and goes within seconds is normal.
        end_seconds: Hosts that do not end so long after they were told to are taken away. They have two
            minutes to save, and may have an image to pull before.
        most_rounds: Steps of one execution, 2 to 2000, before another takes over.
    """

    start_seconds: int = 900
    ask_seconds: int = 30
    watch_seconds: int = 15
    stop_seconds: int = 5
    sweep_minutes: int = 1
    queue_days: float = 7.0
    stall_seconds: int = 1800
    silent_seconds: int = 300
    end_seconds: int = 600
    most_rounds: int = 1500
