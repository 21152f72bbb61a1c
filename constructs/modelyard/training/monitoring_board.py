"""What is on the dashboard of training jobs: JSON, made here rather than by a construct for each graph, since
each of those is three round trips to Node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# As the trainer writes them: `training/vision/telemetry/names.py`.
NAMESPACE = "Modelyard/Training"
CLUSTER, JOB, RANK = "Cluster", "Job", "Rank"
# As the workers do: `training/preprocessing/telemetry.py`.
DATASET, PREPARED, QUARANTINED, IMAGE_TIME = "Dataset", "Prepared", "Quarantined", "ImageTime"
STEP_AGE, NON_FINITE, GOODPUT, CHECKPOINT_AGE = "StepAge", "NonFiniteSteps", "RecentGoodput", "CheckpointAge"

Widget = dict[str, Any]
_WIDTH, _HEIGHT, _ALARMS_HEIGHT = 8, 6, 3
_ACROSS = 3 * _WIDTH
# Title, metrics with their statistics, and whether there is a line for each rank.
_GRAPHS: tuple[tuple[str, Sequence[tuple[str, str]], bool], ...] = (
    ("Loss", [("Loss", "Average")], False),
    ("Images a second", [("ImagesPerSecond", "Average")], False),
    ("Goodput, %", [("Goodput", "Average"), (GOODPUT, "Average")], False),
    ("Step time, ms", [("StepTime", "p50"), ("StepTime", "p99")], False),
    ("Data wait, % of step time", [("DataWait", "Average")], True),
    ("Cost so far", [("Cost", "Maximum")], False),
    ("GPU, %", [("GpuUtilization", "Average")], True),
    ("GPU memory, MB", [("GpuMemory", "Maximum")], True),
    ("Hosts", [("Hosts", "Minimum")], False),
    ("CPU, %", [("CpuUtilization", "Average")], True),
    ("Memory, MB", [("Memory", "Maximum")], True),
    ("Age of the checkpoint, s", [(CHECKPOINT_AGE, "Maximum")], False),
    ("Learning rate", [("LearningRate", "Average")], False),
    ("Norm of the gradient", [("GradientNorm", "Maximum")], False),
    ("Seconds since the last step", [(STEP_AGE, "Maximum")], True),
)
_HISTORY = (
    "fields @timestamp, Job, attempt, hosts, event, step, reason",
    'filter event in ["started", "resumed", "checkpoint", "evaluated", "ended"]',
    "sort @timestamp desc",
    "limit 100",
)


def body(
    *,
    cluster: str,
    region: str,
    alarms: Sequence[str],
    log_group: str | None,
    queues: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    """The dashboard of a cluster's jobs: its alarms, graphs three abreast, images to prepare and done, and
    the jobs' history.

    Args:
        cluster: Dimension of the metrics.
        region: Of metrics and log.
        alarms: ARNs.
        log_group: Name of the jobs' log group; without one there is no history.
        queues: By dataset the names of its queue and of the queue of what is set aside.

    Example:
        >>> board = body(cluster="gpu", region="eu-west-1", alarms=[], log_group=None, queues={})
        >>> board["widgets"][1]["properties"]["title"]
        'Loss'

    See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
    """
    widgets = [_widget("alarm", 0, 0, _ACROSS, _ALARMS_HEIGHT, title="Alarms", alarms=list(alarms))]
    graphs: list[tuple[str, list[Any]]] = [
        (title, [[_search(cluster, name, statistic, by_rank)] for name, statistic in metrics])
        for title, metrics, by_rank in _GRAPHS
    ]
    for dataset, names in queues.items():
        graphs.append((f"Images of {dataset} to prepare", _depth(*names)))
        graphs.append((f"Images of {dataset} done", _done(cluster, dataset)))
    for place, (title, lines) in enumerate(graphs):
        row, column = divmod(place, 3)
        widgets.append(
            _widget(
                "metric",
                column * _WIDTH,
                _ALARMS_HEIGHT + row * _HEIGHT,
                _WIDTH,
                _HEIGHT,
                view="timeSeries",
                title=title,
                region=region,
                metrics=lines,
                yAxis={},
            )
        )
    if log_group:
        below = _ALARMS_HEIGHT + -(-len(graphs) // 3) * _HEIGHT
        widgets.append(
            _widget(
                "log",
                0,
                below,
                _ACROSS,
                _HEIGHT,
                view="table",
                title="Starts, checkpoints and ends",
                region=region,
                query="\n| ".join([f"SOURCE '{log_group}' | {_HISTORY[0]}", *_HISTORY[1:]]),
            )
        )
    return {"start": "-PT3H", "periodOverride": "inherit", "widgets": widgets}


def _widget(kind: str, x: int, y: int, width: int, height: int, **properties: Any) -> Widget:
    return {"type": kind, "width": width, "height": height, "x": x, "y": y, "properties": properties}


def _depth(queue: str, dead_letters: str) -> list[Any]:
    """Messages that wait, that workers hold, and that are set aside for a person."""
    lines = (
        ("waiting", "ApproximateNumberOfMessagesVisible", queue),
        ("held", "ApproximateNumberOfMessagesNotVisible", queue),
        ("set aside", "ApproximateNumberOfMessagesVisible", dead_letters),
    )
    return [
        ["AWS/SQS", metric, "QueueName", name, {"label": label, "stat": "Maximum", "period": 60}]
        for label, metric, name in lines
    ]


def _done(cluster: str, dataset: str) -> list[Any]:
    """Images that came into the dataset, that cannot be used, and what one takes a worker."""
    lines: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("prepared", PREPARED, {"stat": "Sum"}),
        ("quarantined", QUARANTINED, {"stat": "Sum"}),
        ("ms an image", IMAGE_TIME, {"stat": "Average", "yAxis": "right"}),
    )
    return [
        [*(NAMESPACE, metric, CLUSTER, cluster, DATASET, dataset), {**how, "label": label, "period": 60}]
        for label, metric, how in lines
    ]


def _search(cluster: str, metric: str, statistic: str, by_rank: bool) -> dict[str, Any]:
    """That metric of every job, or of every rank of it, whose name nobody knows yet."""
    names = [CLUSTER, JOB, *([RANK] if by_rank else [])]
    schema = ",".join([NAMESPACE, *names])
    whose = " ".join(f"${{PROP('Dim.{name}')}}" for name in names[1:])
    what = f'{CLUSTER}="{cluster}" MetricName="{metric}"'
    return {
        "label": f"{metric} {statistic} {whose}",
        "expression": f"SEARCH('{{{schema}}} {what}', '{statistic}', 60)",
        "period": 60,
    }
