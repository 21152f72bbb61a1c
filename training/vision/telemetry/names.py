"""The metrics of a training, their units, and by which dimensions each is told.

The construct `modelyard.training.TrainingMonitoring` shows and watches them by these names.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "Modelyard/Training"
CLUSTER, JOB, RANK = "Cluster", "Job", "Rank"

# Of each rank. Of StepTime up to 50 values a line, so that CloudWatch knows percentiles.
STEP_TIME, DATA_WAIT, STEP_AGE = "StepTime", "DataWait", "StepAge"
GPU, GPU_MEMORY, CPU, MEMORY = "GpuUtilization", "GpuMemory", "CpuUtilization", "Memory"
OF_RANK = frozenset({STEP_TIME, DATA_WAIT, STEP_AGE, GPU, GPU_MEMORY, CPU, MEMORY})

# Of the job, told by its first rank.
IMAGES, LOSS, RATE, NORM, NON_FINITE = (
    "ImagesPerSecond",
    "Loss",
    "LearningRate",
    "GradientNorm",
    "NonFiniteSteps",
)
GOODPUT, RECENT_GOODPUT, COST = "Goodput", "RecentGoodput", "Cost"
CHECKPOINT_AGE, HOSTS, STEP = "CheckpointAge", "Hosts", "Step"

# Alarms are older than jobs, and so watch all jobs of a cluster together.
WATCHED = frozenset({STEP_AGE, NON_FINITE, RECENT_GOODPUT, CHECKPOINT_AGE})

UNITS: Mapping[str, str] = {
    STEP_TIME: "Milliseconds",
    DATA_WAIT: "Percent",
    STEP_AGE: "Seconds",
    GPU: "Percent",
    GPU_MEMORY: "Megabytes",
    CPU: "Percent",
    MEMORY: "Megabytes",
    IMAGES: "Count/Second",
    LOSS: "None",
    RATE: "None",
    NORM: "None",
    NON_FINITE: "Count",
    GOODPUT: "Percent",
    RECENT_GOODPUT: "Percent",
    COST: "None",
    CHECKPOINT_AGE: "Seconds",
    HOSTS: "Count",
    STEP: "Count",
}

# Each combination of values of these is a metric of its own, and paid as such.
SETS: Mapping[tuple[str, ...], frozenset[str]] = {
    (CLUSTER,): WATCHED,
    (CLUSTER, JOB): frozenset(UNITS),
    (CLUSTER, JOB, RANK): OF_RANK,
}
