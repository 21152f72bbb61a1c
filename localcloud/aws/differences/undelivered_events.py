"""An event that a rule cannot deliver goes to its target's dead-letter queue, if that lets the rule in.

MiniStack has no such queues.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger(__name__)


def keep(
    target: Mapping[str, Any], event: str, rule: str, code: str, message: str, *, may_send: bool
) -> None:
    """Send an undelivered event to the target's dead-letter queue; the log says what became of it.

    Args:
        event: its JSON.
        rule: the rule's ARN.
        code: as EventBridge gives them, for example `NO_PERMISSIONS`.
        may_send: whether the queue's policy lets the rule in.
    """
    from ministack.services import sqs

    arn, queue_arn = str(target.get("Arn", "")), dead_letters_of(target)
    queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
    _log.warning("EventBridge: %s does not deliver to %s: %s", rule, arn, message)
    if not queue_arn:
        return
    if queue is None or not may_send:
        _log.warning(
            "EventBridge: the dead-letter queue %s is missing or lets no rule in: event lost", queue_arn
        )
        return
    attributes = {
        "RULE_ARN": rule,
        "TARGET_ARN": arn,
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        # Neither error goes away by itself, so EventBridge does not try again.
        "RETRY_ATTEMPTS": "0",
    }
    sqs._act_send_message(
        {
            "QueueUrl": queue["url"],
            "MessageBody": event,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        },
        queue["url"],
    )


def dead_letters_of(target: Mapping[str, Any]) -> str | None:
    """ARN of the target's dead-letter queue."""
    arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    return str(arn) if arn else None
