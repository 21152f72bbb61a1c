"""The stages this app is deployed to, each with every number that differs between them.

Chosen by `-c env=NAME`. Nothing is read at import time, and nothing outside this file decides by a stage's
name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelyard.inference.props import Concurrency, Release
from modelyard.serving.props import DataCapture, Rollout, Scaling, Variant
from modelyard.serving.runtime.canary import Rules as CanaryRules
from modelyard.storage.props import Lifecycle, Retention
from modelyard.training import Collection, InstanceSize, NetworkLayout, Pace, Pool, TrainerSize, Workers
from stacks.training_settings import PreparedDataset, TrainingSettings

CONTEXT_KEYS = ("env", "cdk-nag")
# What CDK and its CLI put into the context: feature flags and settings, cached look-ups (cdk.context.json),
# and what `cdk acknowledge`, `cdk cli-telemetry` and `cdk migrate` remember in cdk.json.
# https://docs.aws.amazon.com/cdk/v2/guide/context.html
_CDK_SCOPES = ("@aws-cdk/", "@aws-cdk-containers/", "aws:cdk:", "aws-cdk:")
_CDK_LOOKUPS = (
    "ami", "availability-zones", "cc-api-provider", "endpoint-service-availability-zones", "hosted-zone",
    "key-provider", "load-balancer", "load-balancer-listener", "security-group", "ssm", "vpc-provider",
)  # fmt: skip
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CDK_KEYS = ("acknowledged-issue-numbers", "cdk-migrate", "cli-telemetry")


class EnvironmentSelectionError(Exception):
    """The context names no environment of this app, or a key that the app does not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the stage lives.

    Args:
        account: Of AWS; the CDK CLI refuses credentials of any other before it creates anything. None for
            the caller's, which keeps templates free of it. Set it, and the region, for staging and prod once
            their accounts exist: a stage can then no longer land in the wrong one.
        region: Within that account; None for the caller's.
        name_prefix: In front of the few physical names (pipelines, groups, endpoint), different in every
            stage, so that stages can share an account and region.
        termination_protection: Whether CloudFormation refuses to delete the stacks.
    """

    account: str | None = None
    region: str | None = None
    name_prefix: str = ""
    termination_protection: bool = False

    def __post_init__(self) -> None:
        if self.region and not self.account:
            raise ValueError(f"Placement.region is {self.region} in whatever account; set account with it")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Storage: what deletion does, and how long leftovers are kept."""

    retention: Retention = field(default_factory=Retention)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineSettings:
    """Defaults of pipeline parameters.

    Args:
        processing_instance_type, training_instance_type: Instances of the jobs.
        vision_training_instance_type: Of the training of models of images, where a GPU pays with the size of
            the data.
        parameters: Pipeline -> parameter -> default, as text, where this stage differs from the definition:
            `{"refinance-interest-rate": {"MseThreshold": "18"}}`.
        parallelism: Most steps of one execution at a time.
    """

    processing_instance_type: str = "ml.m5.large"
    training_instance_type: str = "ml.m5.large"
    vision_training_instance_type: str = "ml.g4dn.xlarge"
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parallelism: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """Endpoint: its instances, their number under load and by the clock, how updates replace them, how
    canaries are judged, and which requests are kept.

    `capture` is off in every stage: what callers send is personal data until somebody has decided otherwise.
    """

    variant: Variant = field(default_factory=Variant)
    scaling: Scaling = field(default_factory=Scaling)
    rollout: Rollout = field(default_factory=Rollout)
    canary: CanaryRules = field(default_factory=CanaryRules)
    capture: DataCapture | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessSettings:
    """People: whether taking one of their roles needs a second factor, and how many hours it lasts."""

    require_mfa: bool = True
    session_hours: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmSettings:
    """Who hears of alarms: a topic, and who is asked by mail to subscribe to it.

    Args:
        emails: Addresses, for example `("on-call@example.com",)`. None here: they belong to who deploys, and
            anybody may subscribe later (docs/operations.md).

    Raises:
        ValueError: Not an address.
    """

    emails: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for address in self.emails:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"AlarmSettings.emails has {address!r}, which is no address")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One stage.

    Args:
        release: How new versions of the inference function take over; None: at once.
        alarms: Who hears of alarms; None: whoever looks at them.
        training: Hosts of the stage's own to train on (`TrainingStack`); None for none.
    """

    name: str
    placement: Placement = field(default_factory=Placement)
    data: DataSettings = field(default_factory=DataSettings)
    pipelines: PipelineSettings = field(default_factory=PipelineSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    inference: Concurrency = field(default_factory=Concurrency)
    release: Release | None = None
    access: AccessSettings = field(default_factory=AccessSettings)
    alarms: AlarmSettings | None = None
    training: TrainingSettings | None = None

    def __post_init__(self) -> None:
        capture = self.serving.capture
        if capture and capture.prefix not in self.data.lifecycle.expire_days:
            raise ValueError(
                f"Environment {self.name!r} captures requests below {capture.prefix} for ever; set "
                f"DataSettings(lifecycle=Lifecycle(expire_days={{{capture.prefix!r}: 30}}))"
            )

    def named(self, name: str) -> str:
        """A physical name in this stage."""
        return f"{self.placement.name_prefix}{name}"


_LOCAL_ACCOUNT = "000000000000"
_NO_GPU = "ml.m5.xlarge"
_CPU_HOSTS = ("m7i.xlarge", "m6i.xlarge", "m5.xlarge")
_THROW_AWAY = DataSettings(
    retention=Retention(on_delete="destroy", data_may_be_deleted=True),
    # Longer than a step cache answers from what is there, which is 30 days.
    lifecycle=Lifecycle(noncurrent_days=7, access_log_days=30, expire_days={"pipelines/": 60}),
)
# The dearest type of a pool, on demand in us-east-1 (https://aws.amazon.com/ec2/pricing/on-demand/): budgets,
# and the cost in records, are then bounds of what Spot comes to.
_CPU_HOST_USD = 0.2016


def environments() -> Mapping[str, Environment]:
    """All stages by name, in the order of promotion; `local-training` is `local` with hosts to train on."""
    # The embedded cloud on one machine: data goes with the stacks, people have no second factor. Its
    # account is none of AWS's, so that this stage cannot be deployed to one.
    local = Environment(
        name="local",
        placement=Placement(account=_LOCAL_ACCOUNT),
        data=_THROW_AWAY,
        # Each of the six algorithms twice, or once; two trials at once, for a machine with two
        # processors. Small batches, for then six epochs do what takes twenty.
        pipelines=PipelineSettings(
            vision_training_instance_type=_NO_GPU,
            parameters={
                "breast-cancer": {"MaxTuningJobs": "12", "MaxParallelTuningJobs": "2"},
                "mortgage-approval": {"MaxTuningJobs": "6", "MaxParallelTuningJobs": "2"},
                "digits": {"Epochs": "6", "BatchSize": "64"},
            },
        ),
        # Somebody waits for the canary to end, and sends its requests by hand. The machine does other
        # work besides, and of few requests the slow ones are chance.
        serving=ServingSettings(
            # Over a minute: the alarm that brings an update back is judged once a minute.
            rollout=Rollout(bake_seconds=75),
            canary=CanaryRules(warm_up_seconds=0, bake_seconds=60, least_requests=20, latency_slack_ms=100.0),
        ),
        access=AccessSettings(require_mfa=False),
    )
    stages = (
        local,
        _training_locally(local),
        # No reserved concurrency and no GPUs: a new account has none to give. The deployment would fail, and
        # so would each training of a model of images.
        Environment(
            name="dev",
            placement=Placement(name_prefix="dev-"),
            data=_THROW_AWAY,
            pipelines=PipelineSettings(vision_training_instance_type=_NO_GPU),
            serving=ServingSettings(scaling=Scaling(max_instances=2)),
            access=AccessSettings(require_mfa=False),
            # In one zone: its interface endpoints are most of what waiting for jobs costs.
            training=TrainingSettings(
                network=NetworkLayout(zones=1),
                pools=(
                    Pool(name="spot", market="spot", instance_types=_CPU_HOSTS, max_hosts=2),
                    Pool(name="on-demand", market="on-demand", instance_types=_CPU_HOSTS, max_hosts=2),
                ),
                size=TrainerSize(gpus=0, memory_mib=14_336, shared_memory_mib=2048),
                host_price_usd=_CPU_HOST_USD,
                datasets=(PreparedDataset(name="dogs"),),
                workers=Workers(most=2),
            ),
        ),
        # Mirrors the source system to the number: its concurrency, its cooldowns, its four instances.
        Environment(
            name="staging",
            placement=Placement(name_prefix="staging-"),
            serving=ServingSettings(
                scaling=Scaling(max_instances=4, scale_out_seconds=300, scale_in_seconds=30),
                rollout=Rollout(bake_seconds=300),
            ),
            inference=Concurrency(provisioned=3, reserved=100),
            release=Release(strategy="LambdaCanary10Percent5Minutes"),
            alarms=AlarmSettings(),
        ),
        # AWS's own cooldowns, two instances at least (two zones), a canary on every change of the fleet.
        Environment(
            name="prod",
            placement=Placement(name_prefix="prod-", termination_protection=True),
            data=DataSettings(lifecycle=Lifecycle(noncurrent_days=365)),
            serving=ServingSettings(
                variant=Variant(initial_instances=2),
                scaling=Scaling(min_instances=2, max_instances=4),
                rollout=Rollout(canary_percent=50, bake_seconds=600),
            ),
            inference=Concurrency(provisioned=3, reserved=100),
            release=Release(strategy="LambdaLinear10PercentEvery1Minute"),
            alarms=AlarmSettings(),
        ),
    )
    return {stage.name: stage for stage in stages}


def _training_locally(local: Environment) -> Environment:
    """On its own, for what deploys in a minute need not wait for what most who try the app do not use.

    Its paces are those of the local cloud, where hosts come at once.
    """
    return replace(
        local,
        name="local-training",
        placement=replace(local.placement, name_prefix="local-training-"),
        training=TrainingSettings(
            # Nothing is filtered there, and nothing needs a way to the services.
            network=NetworkLayout(zones=1, endpoints=()),
            pools=(
                Pool(name="spot", market="spot", instance_types=("c7i.large",)),
                Pool(name="on-demand", market="on-demand", instance_types=("c7i.large",)),
            ),
            size=TrainerSize(gpus=0, memory_mib=3072, shared_memory_mib=512),
            host_price_usd=0.08925,
            pace=Pace(ask_seconds=1, watch_seconds=1, stop_seconds=1, silent_seconds=15, end_seconds=150),
            insights="disabled",
            datasets=(PreparedDataset(name="digits", image_size=32),),
            workers=Workers(most=2, backlog=1000, cpu=1024, memory_mib=2048),
            collection=Collection(),
            instance=InstanceSize(
                instance_type="c7i.large",
                max_hours=1,
                volume_gib=30,
                shared_memory_mib=512,
                watch_seconds=3,
                price_usd=0.08925,
            ),
        ),
    )


def choose(context: Mapping[str, object]) -> Environment:
    """The environment that the CDK context asks for.

    Args:
        context: All context of the app; what CDK and its CLI keep there passes.

    Raises:
        EnvironmentSelectionError: No or an unknown environment, or an unknown key; names the known ones.
    """
    unknown = sorted(key for key in context if key not in CONTEXT_KEYS and not _is_cdks(key))
    if unknown:
        raise EnvironmentSelectionError(
            f"unknown context key {', '.join(unknown)}; known: {', '.join(CONTEXT_KEYS)} (-c env=NAME)"
        )
    stages = environments()
    known = ", ".join(stages)
    name = context.get("env")
    if not name:
        raise EnvironmentSelectionError(f"no environment chosen; add -c env=NAME, one of: {known}")
    if name not in stages:
        raise EnvironmentSelectionError(f"unknown environment {name!r}; known: {known}")
    return stages[str(name)]


def _is_cdks(key: str) -> bool:
    lookup, colon, _ = key.partition(":")
    return key in _CDK_KEYS or key.startswith(_CDK_SCOPES) or bool(colon and lookup in _CDK_LOOKUPS)
