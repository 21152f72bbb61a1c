"""How executions grow: wall time against the critical path, cached re-runs, many steps, and memory.

- `critical_path`: a pipeline whose steps sleep; its wall time over the longest chain of its jobs' own time,
  from ProcessingStartTime to ProcessingEndTime. Bound: 1.1.
- `cached`: the same pipeline again, every step cached. Bound: 2 s.
- `growth`: the cost of a step in a chain of 200 empty steps over that in one of 10, run in turn. Bound:
  1.1, the spread of one machine.
- `memory`: what the cloud's processes grow by in three runs of the 200 steps, after a first one. Bound: 30 MB
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.empty_step import empty_chain, make_image, make_role
from localcloud import lifecycle
from localcloud.connect import connect

CRITICAL_PATH, CACHED_S, GROWTH, MEMORY_MB = 1.1, 2.0, 1.1, 30.0
SLEEPS = {"Prepare": 4.0, "Left": 6.0, "Right": 3.0, "Evaluate": 3.0}
AFTER = {"Left": ("Prepare",), "Right": ("Prepare",), "Evaluate": ("Left", "Right")}
SMALL, LARGE, RUNS = 10, 200, 3


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "state"
        lifecycle.up(root)
        try:
            return _measure(root, Path(folder))
        finally:
            lifecycle.down(root)


def _measure(root: Path, folder: Path) -> dict[str, Any]:
    cloud, administrator = connect(root)
    image, role = make_image(cloud, administrator, folder), make_role(cloud, administrator)
    sagemaker = cloud.client("sagemaker", administrator)

    def create(name: str, document: dict[str, Any]) -> None:
        sagemaker.create_pipeline(PipelineName=name, RoleArn=role, PipelineDefinition=json.dumps(document))

    create("sleeps", _sleeps(image, role))
    create("small", empty_chain(SMALL, image, role))
    create("large", empty_chain(LARGE, image, role))
    run(sagemaker, "small")  # what is loaded once
    first = run(sagemaker, "sleeps")
    path = _critical_path(sagemaker, first["PipelineExecutionArn"])
    ratio = seconds(first) / path
    cached = [seconds(run(sagemaker, "sleeps")) for _ in range(RUNS)]

    per_step: dict[str, list[float]] = {"small": [], "large": []}
    per_step["large"].append(seconds(run(sagemaker, "large")) / LARGE)
    before = lifecycle.status(root)["memory_bytes"]
    for _ in range(RUNS):
        for _ in range(3):
            per_step["small"].append(seconds(run(sagemaker, "small")) / SMALL)
        per_step["large"].append(seconds(run(sagemaker, "large")) / LARGE)
    grown = (lifecycle.status(root)["memory_bytes"] - before) / 1e6
    small, large = (statistics.median(per_step[name]) for name in ("small", "large"))
    return {
        "critical_path": {
            "wall_s": round(seconds(first), 3),
            "path_s": round(path, 3),
            "ratio": round(ratio, 3),
            "bound": CRITICAL_PATH,
        },
        "cached": {
            "median_s": round(statistics.median(cached), 3),
            "max_s": round(max(cached), 3),
            "bound_s": CACHED_S,
        },
        "growth": {
            "small_s_per_step": round(small, 4),
            "large_s_per_step": round(large, 4),
            "ratio": round(large / small, 3),
            "bound": GROWTH,
        },
        "memory": {"grown_mb": round(grown, 1), "bound_mb": MEMORY_MB},
        "holds": ratio <= CRITICAL_PATH
        and max(cached) <= CACHED_S
        and large / small <= GROWTH
        and grown <= MEMORY_MB,
    }


def run(sagemaker: Any, pipeline: str) -> dict[str, Any]:
    """The execution when it has succeeded."""
    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    while True:
        seen: dict[str, Any] = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if seen["PipelineExecutionStatus"] == "Succeeded":
            return seen
        if seen["PipelineExecutionStatus"] != "Executing":
            raise RuntimeError(f"execution {seen['PipelineExecutionStatus']}: {seen.get('FailureReason')}")
        time.sleep(0.2)


def seconds(execution: dict[str, Any]) -> float:
    """Wall time of an execution, by the service's own clock."""
    return float((execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds())


def _critical_path(sagemaker: Any, arn: str) -> float:
    """The longest chain of the jobs' own time: from ProcessingStartTime to ProcessingEndTime."""
    own: dict[str, float] = {}
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)
    for step in steps["PipelineExecutionSteps"]:
        name = step["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
        found = sagemaker.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"][0]
        job = sagemaker.describe_processing_job(ProcessingJobName=found["ProcessingJobName"])
        own[step["StepName"]] = (job["ProcessingEndTime"] - job["ProcessingStartTime"]).total_seconds()

    def ends(name: str) -> float:
        return own[name] + max((ends(before) for before in AFTER.get(name, ())), default=0.0)

    return max(map(ends, own))


def _sleeps(image: str, role: str) -> dict[str, Any]:
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
