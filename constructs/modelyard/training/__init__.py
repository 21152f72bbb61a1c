"""Training on hosts that may vanish."""

from modelyard.training.containers import ContainerTask
from modelyard.training.network import TrainingNetwork
from modelyard.training.props import NetworkLayout, Pool, TrainerSize, TrainingData
from modelyard.training.training_cluster import TrainingCluster

__all__ = [
    "ContainerTask",
    "NetworkLayout",
    "Pool",
    "TrainerSize",
    "TrainingCluster",
    "TrainingData",
    "TrainingNetwork",
]
