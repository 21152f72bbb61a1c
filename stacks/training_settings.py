"""What a stage says about training on hosts of its own; a stage that says nothing has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelyard.training import Collection, InstanceSize, NetworkLayout, Pace, Pool, TrainerSize, Workers
from modelyard.training.props import POOLS, Insights
from pipeline_defs.catalog import PIPELINES, ImageClassification, PipelineSpec

if TYPE_CHECKING:
    from aws_cdk import App

    from modelyard.storage import IDataBucket
    from stacks.alarm_topic import AlarmTopic
    from stacks.environments import Environment
    from stacks.pipeline_stack import PipelineStack
    from stacks.training_stack import TrainingStack


# Folder of the data bucket: one below it for each job, with its checkpoints and its models.
JOBS = "training-jobs/"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedDataset:
    """Images that are uploaded below `uploads/<name>/` and trained on from `datasets/<name>/`.

    Args:
        name: Small letters, digits, `.`, `_`, `-`.
        image_size: Pixels that a model sees, squared.
        validation_share, test_share: Of the images.
    """

    name: str
    image_size: int = 224
    validation_share: float = 0.1
    test_share: float = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """Cluster, queues and single hosts.

    Args:
        network: Addresses and zones. Interface endpoints are paid by the hour and zone, used or not.
        pools: Hosts, in the order in which a job tries them.
        size: Of a trainer's task.
        host_price_usd: Of a host and hour, for the budgets of jobs and the cost in their records; 0 where
            nobody knows it, and then jobs with a budget are refused.
        pace: How often jobs are looked after.
        insights: Container Insights.
        datasets: Image folders that are prepared by a queue.
        workers: That empty each of these queues.
        collection: How often shards that nothing names are deleted; never if None.
        instance: A single host for jobs without a cluster; None for none.
    """

    network: NetworkLayout = field(default_factory=NetworkLayout)
    pools: Sequence[Pool] = POOLS
    size: TrainerSize = field(default_factory=TrainerSize)
    host_price_usd: float = 0.0
    pace: Pace = field(default_factory=Pace)
    insights: Insights = "enabled"
    datasets: Sequence[PreparedDataset] = ()
    workers: Workers = field(default_factory=Workers)
    collection: Collection | None = None
    instance: InstanceSize | None = None

    def __post_init__(self) -> None:
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError(f"TrainingSettings.datasets have a name twice: {', '.join(names)}")


def jobs_of(spec: PipelineSpec, environment: Environment) -> tuple[str, ...]:
    """Where jobs leave models that may be registered beside those of a pipeline; nowhere, where none run."""
    trained = environment.training is not None and isinstance(spec.family, ImageClassification)
    return (JOBS,) if trained else ()


def add_training(
    app: App,
    environment: Environment,
    *,
    data: IDataBucket,
    pipelines: PipelineStack,
    alarm_topic: AlarmTopic | None,
) -> TrainingStack | None:
    """The stack that an environment's section `training` asks for, if it has one.

    Its jobs may have their models registered beside those of the pipelines on images, to deploy like these.
    """
    if environment.training is None:
        return None
    # Here, since loading it costs every synth, and `local` has none.
    from modelyard.training.jobs_props import Registration
    from stacks.training_stack import TrainingStack

    of_images = [spec for spec in PIPELINES if isinstance(spec.family, ImageClassification)]
    return TrainingStack(
        app,
        "Training",
        environment=environment,
        data=data,
        alarm_topic=alarm_topic,
        registration=Registration(
            registries=[pipelines.registries[spec.name] for spec in of_images],
            image=pipelines.images[of_images[0].family.image],
        ),
    )
