"""What the training constructs can be told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aws_cdk import aws_iam as iam

from modelyard.permissions import allow
from modelyard.storage import IDataBucket
from modelyard.storage.props import check_folder

_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
# Capacity providers of ECS's own begin so, and ECS refuses others that do.
_POOL_NAME = re.compile(r"(?!aws|ecs|fargate)[a-z][a-z0-9-]{0,30}")
_SMALLEST_SUBNET = 28
MOST_ZONES = 6
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html
_ZONE_NAME, _ZONE_ID = re.compile(r"[a-z]+(-[a-z]+)+-\d[a-z]"), re.compile(r"[a-z]+\d-az\d+")
# ECS's Container Insights.
Insights = Literal["enabled", "enhanced", "disabled"]

# What tasks and hosts without a way out call; S3 and DynamoDB come through gateways. Each is paid by the hour
# and zone. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/vpc-endpoints.html
ENDPOINTS = (
    "ecr.api",
    "ecr.dkr",
    "logs",
    "sqs",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "sts",
    "monitoring",
)
# What the SSM agent of a host calls besides.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-create-vpc.html
SSM_ENDPOINTS = ("ssm", "ssmmessages", "ec2messages")


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkLayout:
    """Addresses and endpoints of a training network.

    Args:
        cidr: IPv4 range of the network; each zone's subnet has a sixteenth of it.
        zones: Zones with a subnet: how many, of those that come first in the account's list, or which, all by
            name (`eu-west-1a`) or all by id (`euw1-az1`, the same place in every account). Name them where
            hosts have GPUs: not every zone offers every type. Services spread over them; hosts of one attempt
            at a job stay in one.
        endpoints: Interface endpoints, by service name without `com.amazonaws.<region>.`. Add `SSM_ENDPOINTS`
            for a `TrainingInstance`.

    Raises:
        ValueError: Not a range that can be cut up, a number of zones that none has, or no zones' names.
    """

    cidr: str = "10.60.0.0/16"
    zones: int | Sequence[str] = 2
    endpoints: Sequence[str] = ENDPOINTS

    def __post_init__(self) -> None:
        try:
            whole = ipaddress.IPv4Network(self.cidr)
        except ValueError as error:
            raise ValueError(
                f"NetworkLayout.cidr {self.cidr!r} is no IPv4 range such as 10.60.0.0/16"
            ) from error
        if not 16 <= whole.prefixlen <= _SMALLEST_SUBNET - 4:
            raise ValueError(f"NetworkLayout.cidr {self.cidr} must be a /16 to a /{_SMALLEST_SUBNET - 4}")
        if isinstance(self.zones, int):
            if not 1 <= self.zones <= 3:
                raise ValueError(f"NetworkLayout.zones is {self.zones}; give 1 to 3, every region has three")
            return
        for form in (_ZONE_NAME, _ZONE_ID):
            # A string is a sequence of strings too.
            if not isinstance(self.zones, str) and all(form.fullmatch(zone) for zone in self.zones):
                break
        else:
            raise ValueError(
                f"NetworkLayout.zones is {self.zones!r}; give all by name, as [eu-west-1a], or by id"
            )
        if not 1 <= len(self.zones) <= MOST_ZONES or len(set(self.zones)) < len(self.zones):
            raise ValueError(f"NetworkLayout.zones is {self.zones!r}; give 1 to {MOST_ZONES}, each once")

    @property
    def zone_count(self) -> int:
        """How many there are."""
        return self.zones if isinstance(self.zones, int) else len(self.zones)

    @property
    def zone_ids(self) -> tuple[str, ...]:
        """Of zones given by id."""
        named = () if isinstance(self.zones, int) else tuple(self.zones)
        return named if named and _ZONE_ID.fullmatch(named[0]) else ()

    @property
    def subnets(self) -> tuple[str, ...]:
        """The range of each zone's subnet."""
        parts = ipaddress.IPv4Network(self.cidr).subnets(prefixlen_diff=4)
        return tuple(str(part) for part, _ in zip(parts, range(self.zone_count), strict=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Hosts of one market in one zone: a capacity provider over an Auto Scaling group that starts at none.

    In one zone, for traffic between zones is paid by the gigabyte in both directions, and the gradients of
    every step would cross. More pools in other zones are further choices for whole jobs, not for one's parts.

    Args:
        name: Small letters, digits and hyphens; part of construct ids and tags.
        market: Spot, or on-demand.
        instance_types: Of which EC2 takes what is there: on Spot the one least likely to be interrupted among
            the cheap, on-demand the first to be had. All must hold the trainer's task.
        max_hosts: Never more.
        zone: Which of the network's zones, from 0.
        volume_gib: Root volume of each host, for images and what tasks write.

    Raises:
        ValueError: A name that ECS refuses, no or a malformed instance type, or a number out of range.
    """

    name: str
    market: Literal["spot", "on-demand"]
    instance_types: Sequence[str] = ("g5.xlarge", "g6.xlarge", "g5.2xlarge", "g6.2xlarge")
    max_hosts: int = 4
    zone: int = 0
    volume_gib: int = 100

    def __post_init__(self) -> None:
        where = f"Pool {self.name!r}"
        if not _POOL_NAME.fullmatch(self.name):
            raise ValueError(f"{where}: use small letters, digits, hyphens; not aws..., ecs..., fargate...")
        if self.market not in ("spot", "on-demand"):
            raise ValueError(f"{where}: market is {self.market!r}; use 'spot' or 'on-demand'")
        check_instance_types(where, self.instance_types)
        for name, low in (("max_hosts", 1), ("zone", 0), ("volume_gib", 30)):
            if getattr(self, name) < low:
                raise ValueError(f"{where}: {name} is {getattr(self, name)}; give at least {low}")


def check_instance_types(where: str, kinds: Sequence[str]) -> None:
    """Raise ValueError unless these are instance types, at least one."""
    if not kinds:
        raise ValueError(f"{where}: name at least one instance type, such as g5.xlarge")
    if wrong := [kind for kind in kinds if not _INSTANCE_TYPE.fullmatch(kind)]:
        raise ValueError(f"{where}: {wrong[0]!r} is no instance type such as g5.xlarge")


# In the order in which a job tries them. In two zones: what one does not offer, or has run out of, the other
# may have for the whole job; lost hosts are asked for again in the zone of those that are left.
POOLS = (Pool(name="spot", market="spot"), Pool(name="on-demand", market="on-demand", zone=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerSize:
    """What one task of the trainer takes of its host. A host runs one.

    Args:
        gpus: Of the host, each with a process of its own. 0 for hosts without: they get an image without
            drivers, and the task one process.
        memory_mib: Beyond it the task is killed. A host has some 1 GiB less for tasks than its type says.
        shared_memory_mib: /dev/shm, through which loaders hand batches on; Docker gives 64, with which they
            die.

    Raises:
        ValueError: A number out of range.
    """

    gpus: int = 1
    memory_mib: int = 13_312
    shared_memory_mib: int = 4096

    def __post_init__(self) -> None:
        if not 0 <= self.gpus <= 16:
            raise ValueError(f"TrainerSize.gpus is {self.gpus}; give 0 to 16")
        if self.memory_mib < 512 or not 64 <= self.shared_memory_mib < self.memory_mib:
            raise ValueError(
                "TrainerSize.memory_mib must be at least 512, and shared_memory_mib 64 or more, below it"
            )

    @property
    def processes(self) -> int:
        """Per host."""
        return max(1, self.gpus)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Where a trainer reads and writes.

    Args:
        bucket: The bucket.
        datasets: Folder it reads: manifests, shards, weights to start from.
        jobs: Folder of jobs. Each has one of its own in it, with `checkpoints/`, which it prunes, and
            `output/` for what it makes.

    Raises:
        ValueError: Not folders, or one within the other: a trainer could change what it learns from.
    """

    bucket: IDataBucket
    datasets: str = "datasets/"
    jobs: str = "training-jobs/"

    def __post_init__(self) -> None:
        check_folder(self.datasets)
        check_folder(self.jobs)
        if self.datasets.startswith(self.jobs) or self.jobs.startswith(self.datasets):
            raise ValueError(
                f"TrainingData has {self.datasets!r} and {self.jobs!r}, one within the other; part them"
            )

    @property
    def jobs_uri(self) -> str:
        """Address of the folder of jobs."""
        return f"s3://{self.bucket.bucket_name}/{self.jobs}"

    def grant(self, grantee: iam.IGrantable) -> None:
        """What a trainer does: read datasets, keep and prune checkpoints, write what it made."""
        self.bucket.grant_get(grantee, f"{self.datasets}*", f"{self.jobs}*")
        # A job has no checkpoint at first. Only who may list is told so; others are told 403, as if they had
        # no right. S3 asks for it without a prefix, so that a condition on that would never hold.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        allow(grantee, actions=["s3:ListBucket"], resources=[self.bucket.bucket_arn])
        self.bucket.grant_write(grantee, self.jobs)
        checkpoints = f"{self.jobs}*/checkpoints/*"
        allow(
            grantee,
            actions=["s3:DeleteObject"],
            resources=[f"{self.bucket.bucket_arn}/{checkpoints}"],
            reason=f"Jobs are named at run time; the grant ends at {checkpoints}.",
        )
