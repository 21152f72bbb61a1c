"""What the registry says reaches callers: a canary is promoted, a rejection takes back, an approval deploys.

The canary began in the chapter before the last: a minute must pass until it can end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from modelyard_cli import registry
from modelyard_cli.errors import CliError
from tests.local.loop import canaries
from tests.local.loop.enforcement import reconcile
from tests.local.loop.story import MODEL, Story, eventually

pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]

# Of the local environment's canaries.
BAKE = timedelta(seconds=60)
SPLIT = 150


@pytest.fixture(autouse=True)
def _nobody_is_refused(story: Story) -> Iterator[None]:
    since = time.time()
    yield
    assert [decision for decision in story.decisions(since) if not decision.allowed] == []


def test_requests_split_and_the_canary_is_promoted(story: Story) -> None:
    canary = canaries.canary_of(story)
    canaries.pause_until(canaries.first_whole_minute(canary))
    before = {version: canaries.invocations(story, version) for version in (1, 2)}

    with canaries.unwatched(story):
        answers = canaries.ask(story, SPLIT)
    canaries.pause_until(datetime.fromisoformat(canary["since"]) + BAKE)
    assert not reconcile(story)["error"]

    # Four standard deviations of a share of 40 percent.
    assert set(answers) == {1, 2}
    assert abs(answers[2] - 0.4 * SPLIT) < 4 * math.sqrt(SPLIT * 0.4 * 0.6)
    for version, count in answers.items():
        assert canaries.invocations(story, version) - before[version] == count
        assert canaries.invocations(story, version, "Errors") == 0
    row = canaries.models(story)
    assert (row["desired"], row["serving"], row["previous"]) == (2, 2, 1)
    assert (row["canary"], row["verdict"]["version"], row["verdict"]["outcome"]) == (None, 2, "promoted")
    arn = next(version["arn"] for version in row["versions"] if version["version"] == 2)
    package = story.aws(story.approver, "sagemaker", "describe-model-package", "--model-package-name", arn)
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"]["canary-verdict"] == "promoted"


def test_rejection_takes_it_back_and_approval_deploys_it_again(story: Story) -> None:
    def decide(version: int, status: str) -> None:
        registry.decide(story.approver.client("sagemaker"), MODEL, version, status, None)

    def serves(version: int) -> None:
        assert story.predict(story.data.examples[:1])["version"] == version

    eventually(lambda: serves(2))
    decide(2, "Rejected")
    eventually(lambda: serves(1))
    decide(1, "Rejected")

    def gone() -> None:
        with pytest.raises(CliError, match="404"):
            story.predict(story.data.examples[:1])

    def gone_or_again() -> None:
        try:
            gone()
        except pytest.fail.Exception as error:
            raise AssertionError(str(error)) from error

    eventually(gone_or_again)
    decide(1, "Approved")
    eventually(lambda: serves(1))
