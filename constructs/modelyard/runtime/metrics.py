"""Metrics that cost no call: a line of the log in CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import sys
import time
from collections.abc import Mapping

# What the inference function says about each request, and the deployer judges canaries by.
INFERENCE = "Modelyard/Inference"
MODEL, VERSION = "Model", "Version"
INVOCATIONS, ERRORS, LATENCY = "Invocations", "Errors", "Latency"
# And about itself, which the alarms of its releases watch.
FUNCTION, FUNCTION_VERSION, FAULTS = "Function", "FunctionVersion", "Faults"

# What the deployer says about each group, and its alarms watch.
DEPLOYER = "Modelyard/Deployer"
ENDPOINT = "Endpoint"
FAILED, RECORD_AGE = "Failed", "RecordAge"

COUNT, MILLISECONDS, SECONDS = "Count", "Milliseconds", "Seconds"


def emit(
    namespace: str,
    dimensions: Mapping[str, str],
    values: Mapping[str, tuple[float, str]],
    **properties: object,
) -> None:
    """Write one line. `values`: name -> (value, unit); `properties` are for searching the log only."""
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()],
    }
    line = {
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
        **properties,
        **dimensions,
        **{name: value for name, (value, _) in values.items()},
    }
    sys.stdout.write(json.dumps(line, default=str) + "\n")
