"""Runs in the environment of the SDK's version 2, drives a pipeline with its client; the last line is JSON.

`python drive_v2.py ROLE_ARN BUCKET`, pointed at a local cloud.
"""

from __future__ import annotations

import json
import sys

import shellfish_v2
from sagemaker.workflow.pipeline_context import PipelineSession

NAME = "ShellfishV2Driven"


def drive(role: str, bucket: str) -> dict[str, object]:
    """Upsert, update, start, wait, list, from the cache once more, delete."""
    made = shellfish_v2.build(PipelineSession(default_bucket=bucket), role, bucket)
    made.name = NAME
    created = made.upsert(role_arn=role, tags=[{"Key": "team", "Value": "shellfish"}])
    updated = made.upsert(role_arn=role, description="twice")
    execution = made.start(parameters={"MseThreshold": 8.0}, execution_display_name="first")
    execution.wait(delay=1, max_attempts=600)
    again = made.start(parameters={"MseThreshold": 8.0})
    again.wait(delay=1, max_attempts=600)
    said = {
        "same": created["PipelineArn"] == updated["PipelineArn"],
        "description": made.describe()["PipelineDescription"],
        "status": execution.describe()["PipelineExecutionStatus"],
        "parameters": {
            given["Name"]: given["Value"]
            for given in execution.list_parameters()["PipelineParameters"]
            if given["Name"] == "MseThreshold"
        },
        "steps": {step["StepName"]: step["StepStatus"] for step in execution.list_steps()},
        "again": again.describe()["PipelineExecutionStatus"],
        "cached": sum("CacheHitResult" in step for step in again.list_steps()),
        "executions": len(made.list_executions()["PipelineExecutionSummaries"]),
    }
    made.delete()
    return said


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(drive(sys.argv[1], sys.argv[2])) + "\n")
