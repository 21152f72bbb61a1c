"""Batches of messages need the permission of the single operation: IAM knows no `sqs:DeleteMessageBatch`.

MiniStack asks for an action of the batch's name, which a role written for AWS does not have.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
"""

from __future__ import annotations

from typing import Any

_SINGLE = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}


def apply() -> None:
    """Wrap the mapping of requests to actions."""
    from ministack.core import iam_actions

    action_of = iam_actions.extract_iam_action

    def extract_iam_action(service: str, *request: Any) -> str | None:
        known: str | None = action_of(service, *request)
        return _SINGLE.get(known, known) if known else None

    iam_actions.extract_iam_action = extract_iam_action
