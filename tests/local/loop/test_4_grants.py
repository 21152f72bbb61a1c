"""Nothing a role is granted goes unused by the loop, or by an operation that is named here.

The loop is all chapters before: deployment, runs, approvals, predictions, changes, destruction.
"""

from __future__ import annotations

import pytest

from pipeline_defs.catalog import PIPELINES
from tests.local.loop.grants import Grant
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(60)]

_VOLUME = "SageMaker encrypts the volumes of jobs; here they have none"
_LISTING = "SageMaker asks for the right to list the models of an endpoint; here they are only loaded by name"
_TUNING = "the classifier tunes: `make demo ALL=1`, tests/local/test_classification_pipeline.py"
_ROLE = "pipelines/RefinanceInterestRatePipelineExecutionRole"
UNUSED = {
    **{
        f"{_ROLE} sagemaker:{action} hyper-parameter-tuning-job/*": _TUNING
        for action in (
            "AddTags",
            "CreateHyperParameterTuningJob",
            "DescribeHyperParameterTuningJob",
            "ListTrainingJobsForHyperParameterTuningJob",
            "StopHyperParameterTuningJob",
        )
    },
    f"{_ROLE} kms:CreateGrant key/<DataKey>": _VOLUME,
    f"{_ROLE} kms:DescribeKey key/<DataKey>": _VOLUME,
    f"{_ROLE} s3:AbortMultipartUpload <DataBucket>/pipelines/refinance-interest-rate/*": (
        "SageMaker gives up the upload of a large output"
    ),
    "serving/EndpointRole s3:ListBucket <DataBucket> models/multi/*": _LISTING,
    "serving/EndpointRole logs:CreateLogGroup log-group:/aws/sagemaker/Endpoints/modelyard:*": (
        "SageMaker may ask for its group although it exists"
    ),
    "serving/EndpointRole cloudwatch:DescribeAlarms alarm:<EndpointServerErrors>": (
        "an update of the endpoint is watched: tests/local/workloads/test_blue_green.py"
    ),
    "serving/EndpointRole cloudwatch:PutMetricData *": (
        "SageMaker publishes CPU, memory and disk of instances; here they share the machine's"
    ),
}


def test_every_grant_is_used_or_has_its_operation(story: Story) -> None:
    used = [decision for decision in story.decisions() if decision.allowed]
    needed = {_folded(grant) for grant in story.grants if any(grant.covers(decision) for decision in used)}
    unused = {_folded(grant) for grant in story.grants} - needed

    assert sorted(unused - UNUSED.keys()) == [], "granted, and needed by nothing that is known"
    assert sorted(UNUSED.keys() - unused) == [], "used, or no longer granted: take it from the list"


def _folded(grant: Grant) -> str:
    """The grant as if it were of the pipeline that the loop runs; those of the others are its like."""
    text = str(grant)
    for spec in PIPELINES:
        text = text.replace(spec.family.raw, PIPELINES[0].family.raw)
        text = text.replace(spec.name, MODEL)
        text = text.replace(spec.name.title().replace("-", ""), MODEL.title().replace("-", ""))
    return text
