"""What an execution spends outside its steps' own processes: wall time over its critical path. Bound: 1.1.

The process time of a step is that of its job's containers, from the fork of the first main process to the
exit of the last, as the kernel's `wait` tells the local cloud: the interpreter's start and the imports are in
it, S3, IAM, image and state are not. Steps without a container have none. The critical path is the chain of
steps, each of which waits for the one before, with the most process time.

That of a tuning step is what its schedule allows: its training jobs in the order in which it created them, at
most MaxParallelTrainingJobs at a time, each beginning when the first of those running ends, and each lasting
as long as its process did. What lies between a process and the next one in its place does not count: neither
the search, nor inputs, archives and records. Processes that ran side by side count with the time that they
took side by side.

Measured are `sleeps`, a pipeline whose steps sleep, and of each family a pipeline on its real data with few
epochs and trials, the median of three runs after one: `regression`, `tuning` (six algorithms, two trials at a
time), `images` with 1,747 objects.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.catalogue import FAMILIES, Pipelines, few, fresh_cloud, run
from benchmarks.empty_step import empty_chain, make_image, make_role
from localcloud.context import Cloud, Credentials
from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.graph import build_graph

BOUND = 1.1
RUNS = 3
SLEEPS = {"Prepare": 4.0, "Left": 6.0, "Right": 3.0, "Evaluate": 3.0}
AFTER = {"Left": ("Prepare",), "Right": ("Prepare",), "Evaluate": ("Left", "Right")}
Times = Sequence[Sequence[float]]  # beginning and end of each process, in seconds


def measure() -> dict[str, Any]:
    with fresh_cloud() as (cloud, administrator, folder):
        runs = {"sleeps": [_sleep(cloud, administrator, folder)], **_families(cloud, administrator, folder)}
    ratios = {name: statistics.median(run["ratio"] for run in found) for name, found in runs.items()}
    return {"ratios": ratios, "runs": runs, "bound": BOUND, "holds": max(ratios.values()) <= BOUND}


def _sleep(cloud: Cloud, administrator: Credentials, folder: Path) -> dict[str, Any]:
    image, role = make_image(cloud, administrator, folder), make_role(cloud, administrator, "sleeps")
    sagemaker = cloud.client("sagemaker", administrator)
    for name, document in {"small": empty_chain(2, image, role), "sleeps": sleeping(image, role)}.items():
        sagemaker.create_pipeline(PipelineName=name, RoleArn=role, PipelineDefinition=json.dumps(document))
    run(sagemaker, "small")  # what is loaded once
    return critical_path(cloud, sagemaker, run(sagemaker, "sleeps"))


def _families(cloud: Cloud, administrator: Credentials, folder: Path) -> dict[str, list[dict[str, Any]]]:
    pipelines = Pipelines(cloud, administrator, folder / "data", "catalogue")
    found: dict[str, list[dict[str, Any]]] = {}
    for name, spec in FAMILIES.items():
        pipelines.put(spec)
        for number in range(1 + RUNS):
            given = {**few(spec.family), **pipelines.upload(spec, f"v{number}")}
            execution = pipelines.wait(pipelines.start(spec, given))
            if number:
                found.setdefault(name, []).append(critical_path(cloud, pipelines.sagemaker, execution))
    return found


def sleeping(image: str, role: str) -> dict[str, Any]:
    """The definition of steps that sleep, of which the cache may answer."""
    document = empty_chain(1, image, role)
    arguments = document["Steps"][0]["Arguments"]
    document["Steps"] = [
        {
            "Name": name,
            "Type": "Processing",
            "Arguments": {
                **arguments,
                "AppSpecification": {
                    "ImageUri": image,
                    "ContainerEntrypoint": ["python", "-c", f"import time; time.sleep({sleep})"],
                },
            },
            "CacheConfig": {"Enabled": True},
            "DependsOn": list(AFTER.get(name, ())),
        }
        for name, sleep in SLEEPS.items()
    ]
    return document


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


def scheduled(times: Sequence[float], parallel: int) -> float:
    """Seconds of jobs that take so long, in this order, at most `parallel` at a time, with nothing between.

    >>> scheduled([3.0, 1.0, 1.0, 2.0], parallel=2)
    4.0
    """
    ends = [0.0] * parallel
    for seconds in times:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _process_times(cloud: Cloud, sagemaker: Any, arn: str) -> dict[str, float]:
    """Seconds by step that ran."""
    found = {}
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)
    # The API does not tell when a container's process ran; the store does.
    with closing(sqlite3.connect(f"{cloud.folder.sagemaker_db.as_uri()}?mode=ro", uri=True)) as store:
        for step in listed["PipelineExecutionSteps"]:
            arns = [value["Arn"] for value in step.get("Metadata", {}).values() if "Arn" in value]
            name = arns[0].rsplit("/", 1)[-1] if arns else ""
            found[step["StepName"]] = _of_job(store, name)
    return found


def _of_job(store: sqlite3.Connection, name: str) -> float:
    # Names in a step's ARN are small.
    rows = store.execute(
        "SELECT body FROM documents WHERE kind LIKE '%-job' AND lower(name) = ?", (name.lower(),)
    ).fetchall()
    if not rows:
        return 0.0
    job = json.loads(rows[0][0])
    if "HyperParameterTuningJobName" not in job:
        return _span(job.get("_Processes", []))
    trials = store.execute(
        "SELECT json_extract(body, '$._Processes') FROM documents WHERE kind = 'training-job'"
        " AND json_extract(body, '$._TuningJobName') = ? ORDER BY sequence",
        (job["HyperParameterTuningJobName"],),
    ).fetchall()
    limits = job["HyperParameterTuningJobConfig"]["ResourceLimits"]
    return scheduled(
        [_span(json.loads(times or "[]")) for (times,) in trials], limits["MaxParallelTrainingJobs"]
    )


def _span(times: Times) -> float:
    return max((time[1] for time in times), default=0.0) - min((time[0] for time in times), default=0.0)
