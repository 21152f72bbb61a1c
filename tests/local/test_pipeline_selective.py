"""Selective execution on the local cloud: some steps again, on the outputs of an earlier execution."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.pipeline_support import Bench, gate

OUT = {"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
SCORE = {"Name": "Score", "Type": "String", "DefaultValue": "5.5"}


@pytest.fixture(scope="module")
def pipeline(bench: Bench) -> str:
    """Prepare -> Report (which names Prepare's output) -> Gate -> After."""
    report = bench.report(
        "Report",
        "environment",
        Arguments={"Environment": {"SCORE": {"Get": "Parameters.Score"}, "FROM": OUT}},
    )
    after = bench.processing("After", "sleep", "0")
    return bench.create(
        bench.processing("Prepare", "write", "rows.csv", "1"),
        report,
        gate("Report", 6.0, [after], []),
        parameters=[SCORE],
    )


def select(*steps: str, source: str | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": step} for step in steps]}
    return {
        "SelectiveExecutionConfig": {**config, **({"SourcePipelineExecutionArn": source} if source else {})}
    }


def refusal(bench: Bench, pipeline: str, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        bench.start(pipeline, **request)
    return str(caught.value)


def test_selected_steps_run_on_the_outputs_of_the_source(bench: Bench, pipeline: str) -> None:
    source = bench.start(pipeline)
    assert bench.wait(source)["PipelineExecutionStatus"] == "Succeeded"
    assert set(bench.steps(source)) == {"Prepare", "Report", "Gate", "After"}

    arn = bench.start(pipeline, values={"Score": "7"}, **select("Report", "Gate", source=source))
    execution, steps = bench.wait(arn), bench.steps(arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert execution["SelectiveExecutionConfig"]["SourcePipelineExecutionArn"] == source
    # What is taken over is listed with its source; After is not selected and does not run.
    assert list(steps) == ["Prepare", "Report", "Gate"]
    assert steps["Prepare"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert steps["Prepare"]["Metadata"] == bench.steps(source)["Prepare"]["Metadata"]
    assert "SelectiveExecutionResult" not in steps["Report"]
    assert steps["Gate"]["Metadata"]["Condition"]["Outcome"] == "False"
    (job,) = bench.client.list_processing_jobs(NameContains=arn.rsplit("/", 1)[-1])["ProcessingJobSummaries"]
    name = job["ProcessingJobName"]
    environment = bench.client.describe_processing_job(ProcessingJobName=name)["Environment"]
    assert environment["FROM"] == bench.uri(source.rsplit("/", 1)[-1], "Prepare")

    # A selective execution can be a source itself, also for the property file of a step taken over.
    last = bench.start(pipeline, **select("Gate", source=arn))
    assert bench.wait(last)["PipelineExecutionStatus"] == "Succeeded"
    assert bench.steps(last)["Gate"]["Metadata"]["Condition"]["Outcome"] == "False"


def test_what_cannot_be_selected(bench: Bench, pipeline: str) -> None:
    assert "SourcePipelineExecutionArn is required" in refusal(bench, pipeline, **select("Report"))
    assert "lacks Report" in refusal(bench, pipeline, **select("Prepare", "Gate"))
    assert "names Reports" in refusal(bench, pipeline, **select("Reports"))
    failed = bench.start(pipeline, values={"Score": "none"})
    assert bench.wait(failed)["PipelineExecutionStatus"] == "Failed"
    assert "Report, which did not succeed" in refusal(bench, pipeline, **select("Gate", source=failed))
    other = bench.start(bench.create(bench.processing("Slow", "sleep", "3")))
    assert "is no execution of pipeline" in refusal(bench, pipeline, **select("Report", source=other))
    bench.wait(other)
    # A failed execution is a source for what has succeeded in it.
    arn = bench.start(pipeline, **select("Report", source=failed))
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Succeeded"


def test_a_retry_keeps_the_selection(bench: Bench, pipeline: str) -> None:
    source = bench.start(pipeline)
    bench.wait(source)
    arn = bench.start(pipeline, values={"Score": "none"}, **select("Report", "Gate", source=source))
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Failed"
    bench.client.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert bench.wait(arn)["PipelineExecutionStatus"] == "Failed"
    assert list(bench.steps(arn)) == ["Prepare", "Report"]
