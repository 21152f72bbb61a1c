"""EventBridge calls only functions, queues and topics whose own policy lets it.

MiniStack delivers to any. On AWS the function's policy must allow `events.amazonaws.com` to invoke it,
usually for this rule alone; else the delivery fails and nothing runs. (Its SQS and SNS deliveries are
held to the same here.)
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)

_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}


def apply() -> None:
    """Wrap the delivery to one target."""
    from ministack.services import eventbridge

    deliver = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: Any, view: Any = None) -> Any:
        arn, source = str(target.get("Arn", "")), _rule_arn(rule)
        if _allowed(arn, source):
            return deliver(target, event, rule, view)
        _log.warning("EventBridge: %s has no policy that lets the rule %s in; nothing delivered", arn, source)
        return None

    eventbridge._invoke_target = invoke_target


def _rule_arn(rule: Any) -> str:
    return str(rule.get("Arn", "")) if isinstance(rule, dict) else ""


def _allowed(arn: str, source: str) -> bool:
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id, get_region

    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    action = _ACTIONS.get(service)
    if action is None:
        return True
    found = iam_evaluator._resource_policy(service, arn)
    context = iam_evaluator.EvalContext(
        principal_arn="events.amazonaws.com",
        principal_type="Service",
        principal_account=get_account_id(),
        action=action,
        resource_arn=arn,
        region=get_region(),
        secure_transport=True,
        service_context={"aws:sourcearn": source, "aws:sourceaccount": get_account_id()},
    )
    policy = found[0] if found else None
    decision = iam_evaluator.evaluate_resource_policy(
        policy, context, service="events.amazonaws.com"
    ).decision
    return bool(decision == "Allow")
