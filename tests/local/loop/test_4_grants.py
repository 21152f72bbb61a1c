"""Nothing a role is granted goes unused by the loop, or by an operation that is named here.

The loop is all chapters before: deployment, runs, approvals, predictions, changes, destruction.
"""

from __future__ import annotations

import pytest

from pipeline_defs.catalog import PIPELINES, ImageClassification, TabularClassification, TabularRegression
from tests.local.loop.enforcement import execution_role, pascal_case
from tests.local.loop.families import IMAGES, TUNED
from tests.local.loop.grants import Decision, Grant
from tests.local.loop.story import MODEL, Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

_VOLUME = "SageMaker encrypts the volumes of jobs; here they have none"
_LISTING = "SageMaker asks for the right to list the models of an endpoint; here they are only loaded by name"
# The pipeline of each family that stands for its others, whose roles are alike but for names.
FAMILIES: dict[type, str] = {
    TabularRegression: MODEL,
    TabularClassification: TUNED,
    ImageClassification: IMAGES,
}
UNUSED = {
    **{
        f"{execution_role(pipeline)} {grant}": reason
        for pipeline in FAMILIES.values()
        for grant, reason in {
            "kms:CreateGrant key/<DataKey>": _VOLUME,
            "kms:DescribeKey key/<DataKey>": _VOLUME,
            f"s3:AbortMultipartUpload <DataBucket>/pipelines/{pipeline}/*": (
                "SageMaker gives up the upload of a large output"
            ),
        }.items()
    },
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
BY_NAME = {spec.name: spec for spec in PIPELINES}
ROLES_OF_PIPELINES = {execution_role(spec.name) for spec in PIPELINES}


# The grants of all families are used only if the images' ran as well.
@pytest.mark.torch
def test_every_grant_is_used_or_has_its_operation(story: Story) -> None:
    used: dict[tuple[str, str], list[Decision]] = {}
    for decision in story.decisions():
        if decision.allowed:
            used.setdefault((decision.role, decision.action.lower()), []).append(decision)

    def needs(grant: Grant) -> bool:
        return any(map(grant.covers, used.get((grant.role, grant.action.lower()), [])))

    needed = {_folded(grant) for grant in story.grants if needs(grant)}
    unused = {_folded(grant) for grant in story.grants} - needed

    assert sorted(unused - UNUSED.keys()) == [], "granted, and needed by nothing that is known"
    assert sorted(UNUSED.keys() - unused) == [], "used, or no longer granted: take it from the list"


def _folded(grant: Grant) -> str:
    """The grant as if its pipeline were the one that stands for it: that of its family, where the role is a
    pipeline's own; of other roles, which hold as much for every pipeline, that of the loop."""
    text = str(grant)
    # SageMaker's log groups are made for all by whichever pipeline is the first.
    shared = grant.action == "logs:CreateLogGroup"
    for spec in PIPELINES:
        own = grant.name == execution_role(spec.name)
        if own or grant.name not in ROLES_OF_PIPELINES:
            like = BY_NAME[FAMILIES[type(spec.family)] if own and not shared else MODEL]
            text = text.replace(spec.family.raw, like.family.raw)
            text = text.replace(spec.name, like.name)
            text = text.replace(pascal_case(spec.name), pascal_case(like.name))
    return text
