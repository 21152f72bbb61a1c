"""Training on hosts that may vanish, and the queue that prepares what it reads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.training.capacity import CapacityPool
    from modelyard.training.containers import ContainerTask
    from modelyard.training.event_queue import EventQueue
    from modelyard.training.instance_props import InstanceSize
    from modelyard.training.jobs import TrainingJobs
    from modelyard.training.jobs_props import HostPool, Pace, Registration, TrainerTask
    from modelyard.training.ledger import Ledger
    from modelyard.training.monitoring import TrainingAlarms, TrainingMonitoring
    from modelyard.training.network import TrainingNetwork
    from modelyard.training.preprocessing_props import Collection, ImageFolder, Workers
    from modelyard.training.preprocessing_queue import PreprocessingQueue
    from modelyard.training.props import NetworkLayout, Pool, TrainerSize, TrainingData
    from modelyard.training.rendezvous import Rendezvous
    from modelyard.training.shard_collection import ShardCollection
    from modelyard.training.training_cluster import TrainingCluster
    from modelyard.training.training_instance import TrainingInstance
    from modelyard.training.worker_scaling import WorkerScaling

__all__ = [
    "CapacityPool",
    "Collection",
    "ContainerTask",
    "EventQueue",
    "HostPool",
    "ImageFolder",
    "InstanceSize",
    "Ledger",
    "NetworkLayout",
    "Pace",
    "Pool",
    "PreprocessingQueue",
    "Registration",
    "Rendezvous",
    "ShardCollection",
    "TrainerSize",
    "TrainerTask",
    "TrainingAlarms",
    "TrainingCluster",
    "TrainingData",
    "TrainingInstance",
    "TrainingJobs",
    "TrainingMonitoring",
    "TrainingNetwork",
    "WorkerScaling",
    "Workers",
]
# Where a name is, unless in the module of its own name.
_PLACES = {
    "CapacityPool": "capacity",
    "Collection": "preprocessing_props",
    "ContainerTask": "containers",
    "HostPool": "jobs_props",
    "ImageFolder": "preprocessing_props",
    "InstanceSize": "instance_props",
    "NetworkLayout": "props",
    "Pace": "jobs_props",
    "Pool": "props",
    "Registration": "jobs_props",
    "TrainerSize": "props",
    "TrainerTask": "jobs_props",
    "TrainingAlarms": "monitoring",
    "TrainingData": "props",
    "TrainingJobs": "jobs",
    "TrainingMonitoring": "monitoring",
    "TrainingNetwork": "network",
    "Workers": "preprocessing_props",
}


def __getattr__(name: str) -> Any:
    # When asked for: below this package lies `runtime`, which programs without CDK import too.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _PLACES.get(name) or "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    return getattr(import_module(f"{__name__}.{place}"), name)
