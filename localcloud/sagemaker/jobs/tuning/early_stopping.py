"""When a training job is worth no more of its time.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median


def is_worse_than_median(
    objectives: Sequence[float], completed: Sequence[Sequence[float]], *, maximize: bool
) -> bool:
    """The rule of `TrainingJobEarlyStoppingType` Auto.

    The newest value is held against the median, over the training jobs that completed before, of the mean of
    each one's values up to the same epoch. Nothing is stopped before a first training job has completed.

    Args:
        objectives: of the running job, one value an epoch.
        completed: the values of the completed jobs, each at least one.
        maximize: whether larger values are better.

    Example:
        >>> is_worse_than_median([0.5, 0.6], [[0.7, 0.9]], maximize=True)
        True
    """
    if not objectives or not completed:
        return False
    bar = median(fmean(values[: len(objectives)]) for values in completed)
    return objectives[-1] < bar if maximize else objectives[-1] > bar
