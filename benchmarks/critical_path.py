"""What an execution spends outside its steps' own processes.

The process time of a step is that of its job's containers, from the fork of the first main process to the
exit of the last, as the kernel's `wait` tells the local cloud: the interpreter's start and the imports are in
it, S3, IAM, image and state are not. Steps without a container have none. The critical path is the chain of
steps, each of which waits for the one before, with the most process time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from localcloud.context import Cloud
from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.graph import build_graph


def critical_path(cloud: Cloud, sagemaker: Any, execution: Mapping[str, Any]) -> dict[str, Any]:
    """Of an execution that has succeeded: wall time, critical path, both in seconds, and their ratio."""
    arn = execution["PipelineExecutionArn"]
    process = _process_times(cloud, sagemaker, arn)
    answer = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    graph = build_graph(parse_definition(answer["PipelineDefinition"]))
    chains: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in graph.order:
        if name in process:
            before = max((chains[need] for need in graph.needs[name] if need in chains), default=(0.0, ()))
            chains[name] = (before[0] + process[name], (*before[1], name))
    path, steps = max(chains.values())
    wall = (execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds()
    return {
        "wall_s": round(wall, 3),
        "path_s": round(path, 3),
        "ratio": round(wall / path, 3),
        "outside_ms_per_step": round((wall - path) / len(steps) * 1000),
        "path": {name: round(process[name], 3) for name in steps},
    }


def _process_times(cloud: Cloud, sagemaker: Any, arn: str) -> dict[str, float]:
    """Seconds by step that ran."""
    found = {}
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)
    # The API does not tell when a container's process ran; the store does. Names in a step's ARN are small.
    with closing(sqlite3.connect(f"{cloud.folder.sagemaker_db.as_uri()}?mode=ro", uri=True)) as store:
        for step in listed["PipelineExecutionSteps"]:
            arns = [value["Arn"] for value in step.get("Metadata", {}).values() if "Arn" in value]
            name = arns[0].rsplit("/", 1)[-1] if arns else ""
            rows = store.execute(
                "SELECT body FROM documents WHERE kind LIKE '%-job' AND lower(name) = ?", (name.lower(),)
            ).fetchall()
            times = json.loads(rows[0][0]).get("_Processes", []) if rows else []
            begun = min((time[0] for time in times), default=0.0)
            found[step["StepName"]] = max((time[1] for time in times), default=0.0) - begun
    return found
