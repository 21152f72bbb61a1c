"""Metric definitions that a public image brings along, so that jobs need not define them.

https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.containers.public_images import catalog
from localcloud.containers.public_images.runtime.hyperparameters import MAXIMIZED, MINIMIZED

# `#011` is the tab of the algorithm's output as CloudWatch Logs shows it.
_REGEX = r".*\[[0-9]+\].*#011{data}-{metric}:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*"


def algorithm_metrics(uri: str, hyperparameters: Mapping[str, Any]) -> list[dict[str, str]]:
    """`MetricDefinitions` of a training job that gives none itself; empty for scripts and for other images.

    Example:
        >>> uri = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
        >>> "validation:rmse" in [item["Name"] for item in algorithm_metrics(uri, {"num_round": "5"})]
        True
    """
    if not catalog.is_xgboost(uri) or "sagemaker_program" in hyperparameters:
        return []
    return [
        {"Name": f"{data}:{metric}", "Regex": _REGEX.format(data=data, metric=metric)}
        for data in ("train", "validation")
        for metric in sorted(MAXIMIZED | MINIMIZED)
    ]
