"""Nothing a role is granted goes unused by the loop, or by an operation that is named here.

The loop is all chapters before: deployment, runs, approvals, predictions, changes, destruction.
"""

from __future__ import annotations

import pytest

from tests.local.loop.story import Story

pytestmark = [pytest.mark.loop, pytest.mark.timeout(60)]

UNUSED = {
    "x": "y",
}


def test_every_grant_is_used_or_has_its_operation(story: Story) -> None:
    used = [decision for decision in story.decisions() if decision.allowed]
    unused = {str(grant) for grant in story.grants if not any(grant.covers(decision) for decision in used)}

    assert unused == set(UNUSED)
