"""Cached results on the local cloud: what becomes of them when their objects, or their time, are gone."""

from __future__ import annotations

import time
from typing import Any

from tests.local.pipeline_support import Bench, definition

CACHED = {"CacheConfig": {"Enabled": True}}


def outcome(bench: Bench, pipeline: str) -> tuple[str, dict[str, str | None]]:
    """The execution's id, and the id of the execution that each step's result comes from (None: it ran)."""
    arn = bench.start(pipeline)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"
    sources = {
        name: step.get("CacheHitResult", {}).get("SourcePipelineExecutionArn", "").rsplit("/", 1)[-1] or None
        for name, step in bench.steps(arn).items()
    }
    return arn.rsplit("/", 1)[-1], sources


def test_a_result_whose_objects_are_gone_is_made_again(bench: Bench) -> None:
    read = {
        "ProcessingInputs": [
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": {"Get": "Steps.Write.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"},
                    "LocalPath": "/opt/ml/processing/in",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ]
    }
    pipeline = bench.create(
        bench.processing("Write", "write", "rows.csv", "1", **CACHED),
        bench.processing("Empty", "sleep", "0", **CACHED),
        bench.processing("Read", "sleep", "0", Arguments=read),
    )
    first, sources = outcome(bench, pipeline)
    assert sources == {"Write": None, "Empty": None, "Read": None}
    # An output that never had an object lacks none.
    assert outcome(bench, pipeline)[1] == {"Write": first, "Empty": first, "Read": None}

    bench.s3.delete_object(Bucket=bench.bucket, Key=f"{first}/Write/rows.csv")
    third, sources = outcome(bench, pipeline)
    assert sources == {"Write": None, "Empty": first, "Read": None}
    assert outcome(bench, pipeline)[1]["Write"] == third


def test_a_result_expires(bench: Bench) -> None:
    def step(expire_after: str) -> dict[str, Any]:
        cached = {"Enabled": True, "ExpireAfter": expire_after}
        return bench.processing("Step", "sleep", "0", CacheConfig=cached)

    pipeline = bench.create(step("PT1H"))
    first, _ = outcome(bench, pipeline)
    assert outcome(bench, pipeline)[1] == {"Step": first}
    time.sleep(1)
    bench.client.update_pipeline(PipelineName=pipeline, PipelineDefinition=definition(step("PT1S")))
    assert outcome(bench, pipeline)[1] == {"Step": None}
    bench.client.update_pipeline(PipelineName=pipeline, PipelineDefinition=definition(step("PT1H")))
    assert outcome(bench, pipeline)[1]["Step"] not in (first, None)


def test_results_are_one_pipelines_own(bench: Bench) -> None:
    one, other = (bench.create(bench.processing("Step", "sleep", "0", **CACHED)) for _ in range(2))
    outcome(bench, one)
    assert outcome(bench, other)[1] == {"Step": None}
