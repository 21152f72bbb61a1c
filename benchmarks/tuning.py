"""What a tuning job costs beyond its training jobs, and a training job beyond its process.

Twenty training jobs one after the other, whose container prints the objective and ends. `between_jobs_s` is a
tuning job's own part: the time per training job less what the training jobs took, from creation to end.
`own_process_s` is the container's process (`python -c pass`), measured in the same run.
Bound: between two training jobs less than such a process takes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.empty_step import make_image, make_role
from localcloud import lifecycle
from localcloud.connect import connect
from localcloud.context import Cloud, Credentials

JOBS = 20
RUNS = 3
BOUND = 1.0
STRATEGIES = ("Random", "Bayesian")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "state"
        lifecycle.up(root)
        try:
            cloud, administrator = connect(root)
            return _measure(cloud, administrator, Path(folder))
        finally:
            lifecycle.down(root)


def _measure(cloud: Cloud, administrator: Credentials, folder: Path) -> dict[str, Any]:
    image = make_image(cloud, administrator, folder, 'print("score=1")')
    role = make_role(cloud, administrator)
    cloud.client("s3", administrator).create_bucket(Bucket="bench")
    sagemaker = cloud.client("sagemaker", administrator)
    per_job: dict[str, list[float]] = {strategy: [] for strategy in STRATEGIES}
    between: list[float] = []
    process: list[float] = []
    _run(sagemaker, "warm-up", "Bayesian", image, role, jobs=2)
    for run in range(RUNS):
        for strategy in STRATEGIES:
            whole, own = _run(sagemaker, f"{strategy}-{run}", strategy, image, role, jobs=JOBS)
            per_job[strategy].append(whole / JOBS)
            between.append((whole - own) / JOBS)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        process.append(time.perf_counter() - started)
    medians = {strategy: round(statistics.median(seconds), 4) for strategy, seconds in per_job.items()}
    gap, reference = statistics.median(between), statistics.median(process)
    return {
        "jobs": JOBS,
        "training_job_s": medians,
        "between_jobs_s": {"median": round(gap, 4), "max": round(max(between), 4)},
        "own_process_s": round(reference, 4),
        "between_jobs_over_process": {"median": round(gap / reference, 2), "bound": BOUND},
        "holds": gap <= BOUND * reference,
    }


def _run(
    sagemaker: Any, name: str, strategy: str, image: str, role: str, *, jobs: int
) -> tuple[float, float]:
    """Seconds of a tuning job, and of its training jobs together, by the service's own clock."""
    place = {"HyperParameterTuningJobName": name}
    sagemaker.create_hyper_parameter_tuning_job(
        **place,
        HyperParameterTuningJobConfig={
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]
            },
        },
        TrainingJobDefinition={
            "RoleArn": role,
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9.]+)"}],
            },
            "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    )
    while True:
        seen = sagemaker.describe_hyper_parameter_tuning_job(**place)
        if seen["HyperParameterTuningJobStatus"] == "Completed":
            break
        if seen["HyperParameterTuningJobStatus"] != "InProgress":
            raise RuntimeError(
                f"tuning job {seen['HyperParameterTuningJobStatus']}: {seen.get('FailureReason')}"
            )
        time.sleep(0.2)
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**place, MaxResults=100)
    own = [item["TrainingEndTime"] - item["CreationTime"] for item in listed["TrainingJobSummaries"]]
    whole = seen["HyperParameterTuningEndTime"] - seen["CreationTime"]
    return whole.total_seconds(), sum(item.total_seconds() for item in own)
