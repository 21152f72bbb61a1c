"""How executions grow: wall time against the critical path, cached re-runs, many steps, and memory.

- `critical_path`: wall time over the process time of the critical path, see `benchmarks.critical_path`, of
  `sleeps`, a pipeline whose steps sleep; of `tabular`, refinance-interest-rate on the real loans; and of
  `images`, the digits with 1,747 objects and few epochs. The median of three runs, after one. Bound: 1.1.
- `cached`: the same pipeline again, every step cached. Bound: 2 s.
- `growth`: the cost of a step in a chain of 200 empty steps over that in one of 10, run in turn; and of the
  last runs of 200 over the first, for what has run must not slow what runs. Bound: 1.1, the spread of one
  machine.
- `memory`: what the cloud's processes grow by in six runs of the 200 steps, after a first one, and by each of
  the last three, when what is filled once is full. Bounds: 30 MB, and 2 MB a run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.critical_path import critical_path
from benchmarks.empty_step import empty_chain, make_image, make_role
from benchmarks.harness import ROOT
from benchmarks.tabular_pipelines import REGRESSIONS, Pipelines, fresh_cloud, loans
from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials
from pipeline_defs.catalog import PIPELINES, ImageClassification

CRITICAL_PATH, CACHED_S, GROWTH, MEMORY_MB, LATER_MB = 1.1, 2.0, 1.1, 30.0, 2.0
SLEEPS = {"Prepare": 4.0, "Left": 6.0, "Right": 3.0, "Evaluate": 3.0}
TABULAR = next(spec for spec in REGRESSIONS if spec.name == "refinance-interest-rate")
IMAGES = next(spec for spec in PIPELINES if isinstance(spec.family, ImageClassification))
AFTER = {"Left": ("Prepare",), "Right": ("Prepare",), "Evaluate": ("Left", "Right")}
SMALL, LARGE, RUNS, LARGE_RUNS = 10, 200, 3, 6


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
    paths = {"sleeps": [critical_path(cloud, sagemaker, run(sagemaker, "sleeps"))], **families()}
    ratios = {name: statistics.median(run["ratio"] for run in runs) for name, runs in paths.items()}
    cached = [seconds(run(sagemaker, "sleeps")) for _ in range(RUNS)]

    per_step: dict[str, list[float]] = {"small": [], "large": []}
    per_step["large"].append(seconds(run(sagemaker, "large")) / LARGE)
    memory = [lifecycle.status(root)["memory_bytes"] / 1e6]
    for _ in range(LARGE_RUNS):
        for _ in range(2):
            per_step["small"].append(seconds(run(sagemaker, "small")) / SMALL)
        per_step["large"].append(seconds(run(sagemaker, "large")) / LARGE)
        memory.append(lifecycle.status(root)["memory_bytes"] / 1e6)
    half = LARGE_RUNS // 2
    grown, later = memory[-1] - memory[0], (memory[-1] - memory[half]) / (LARGE_RUNS - half)
    small, large = (statistics.median(per_step[name]) for name in ("small", "large"))
    older, newer = per_step["large"][1 : half + 1], per_step["large"][-half:]
    slower = statistics.median(newer) / statistics.median(older)
    return {
        "critical_path": {"ratios": ratios, "runs": paths, "bound": CRITICAL_PATH},
        "cached": {
            "median_s": round(statistics.median(cached), 3),
            "max_s": round(max(cached), 3),
            "bound_s": CACHED_S,
        },
        "growth": {
            "small_s_per_step": round(small, 4),
            "large_s_per_step": round(large, 4),
            "ratio": round(large / small, 3),
            "last_runs_over_first": round(slower, 3),
            "bound": GROWTH,
        },
        "memory": {
            "after_each_mb": [round(value, 1) for value in memory],
            "grown_mb": round(grown, 1),
            "bound_mb": MEMORY_MB,
            "later_mb_a_run": round(later, 2),
            "later_bound_mb": LATER_MB,
        },
        "holds": max(ratios.values()) <= CRITICAL_PATH
        and max(cached) <= CACHED_S
        and max(large / small, slower) <= GROWTH
        and grown <= MEMORY_MB
        and later <= LATER_MB,
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


def families() -> dict[str, list[dict[str, Any]]]:
    """Wall time and critical path of executions of real families, on a cloud of their own."""
    with fresh_cloud() as (cloud, administrator, folder):
        pipelines = Pipelines(cloud, administrator, loans(folder), "bench")
        pipelines.put(TABULAR)
        pipelines.put(IMAGES)
        objects = _digits(folder)
        found: dict[str, list[dict[str, Any]]] = {"tabular": [], "images": []}
        for number in range(1 + RUNS):
            given = {
                TABULAR: pipelines.upload(TABULAR, f"v{number}"),
                IMAGES: _upload_digits(cloud, administrator, objects, number),
            }
            for name, spec in {"tabular": TABULAR, "images": IMAGES}.items():
                execution = pipelines.wait(pipelines.start(spec, given[spec]))
                if number:
                    found[name].append(critical_path(cloud, pipelines.sagemaker, execution))
        return found


def _digits(folder: Path) -> Path:
    command = [sys.executable, "tools/image_data.py", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / "digits"


def _upload_digits(cloud: Cloud, administrator: Credentials, images: Path, number: int) -> dict[str, str]:
    """Put the digits where no cache knows them; the parameters of an execution."""
    s3 = cloud.client("s3", administrator)
    prefixes = {"InputData": f"{IMAGES.family.raw}v{number}/", "BatchData": f"batch/{IMAGES.name}/v{number}/"}
    for parameter, source in {"InputData": images / "images", "BatchData": images / "batch"}.items():
        for path in sorted(source.rglob("*.png")):
            key = f"{prefixes[parameter]}{path.relative_to(source)}"
            s3.put_object(Bucket="bench", Key=key, Body=path.read_bytes())
    addresses = {parameter: f"s3://bench/{prefix}" for parameter, prefix in prefixes.items()}
    return {**addresses, "Epochs": "2", "BatchSize": "16", "Top1Threshold": "0.3"}


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
