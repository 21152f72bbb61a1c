"""What callers got, from CloudWatch: the metrics that the inference function writes for each request."""

from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from modelyard.runtime.metrics import ERRORS, INFERENCE, INVOCATIONS, LATENCY, MODEL, VERSION

from .aws_errors import reason
from .canary import Figures
from .errors import DeployError
from .garbage import parsed

_DAY = 86_400


class CloudWatchMetrics:
    """Figures by version, through the `cloudwatch` client.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def figures(self, group: str, version: int, *, since: str, until: str) -> Figures:
        # Whole minutes, and hours for days, so that none of them began before the canary did.
        begin, end = parsed(since), parsed(until)
        fine = 60 if (end - begin).total_seconds() <= _DAY else 3600
        begin += timedelta(seconds=-begin.timestamp() % fine)
        seconds = (end - begin).total_seconds()
        if seconds <= 0:
            return Figures(requests=0, errors=0)
        # A percentile cannot be had from those of parts: one period for all of it, a day being the longest.
        coarse = min(_DAY, int(-(-seconds // 60) * 60))

        def query(name: str, metric: str, statistic: str, period: int) -> dict[str, Any]:
            dimensions = [{"Name": MODEL, "Value": group}, {"Name": VERSION, "Value": str(version)}]
            asked = {"Namespace": INFERENCE, "MetricName": metric, "Dimensions": dimensions}
            return {"Id": name, "MetricStat": {"Metric": asked, "Period": period, "Stat": statistic}}

        queries = [
            query("requests", INVOCATIONS, "Sum", fine),
            query("errors", ERRORS, "Sum", fine),
            query("p90", LATENCY, "p90", coarse),
            query("weights", LATENCY, "SampleCount", coarse),
        ]
        found: dict[str, dict[Any, float]] = {asked["Id"]: {} for asked in queries}
        try:
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries, StartTime=begin, EndTime=end
            )
            for page in pages:
                for series in page["MetricDataResults"]:
                    pairs = zip(series["Timestamps"], series["Values"], strict=True)
                    found[series["Id"]] |= dict(pairs)
        except (ClientError, BotoCoreError) as error:
            raise DeployError(f"cannot read the metrics of {group}: {reason(error)}") from error
        requests = round(sum(found["requests"].values()))
        return Figures(
            requests=requests,
            errors=min(requests, round(sum(found["errors"].values()))),
            p90_ms=_mean(found["p90"], found["weights"]),
        )


def _mean(values: dict[Any, float], weights: dict[Any, float]) -> float | None:
    """Of the periods' percentiles, by their requests: one period where CloudWatch does not cut it in two."""
    total = sum(weights.get(moment, 0.0) for moment in values)
    if not total:
        return None
    return sum(value * weights.get(moment, 0.0) for moment, value in values.items()) / total
