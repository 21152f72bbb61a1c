"""EventBridge calls only functions, queues and topics whose own policy lets it.

MiniStack delivers to any. On AWS the function's policy must allow `events.amazonaws.com` to invoke it,
usually for this rule alone; else the delivery fails and nothing runs. (Its SQS and SNS deliveries are
held to the same here.) A state machine it starts with the role of the target, which must trust it and allow
that; how a service of this cloud's own is reached, that service says (`deliver_by`). And MiniStack runs a
function once, where AWS invokes it asynchronously: twice more when it fails, then its dead-letter queue or
failure destination. What cannot be delivered at all goes to the target's own dead-letter queue
(`undelivered_events`).
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from localcloud.aws.differences import service_roles, undelivered_events

_log = logging.getLogger(__name__)

_PRINCIPAL = "events.amazonaws.com"
_ROLE_ACTIONS = {"states": "states:StartExecution"}
_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}

# Takes a target, the input or None for the event, and the rule's ARN; code and message of what failed.
Delivery = Callable[[dict[str, Any], str | None, str], tuple[str, str] | None]
_deliveries: dict[str, Delivery] = {}


def deliver_by(service: str, delivery: Delivery) -> None:
    """Say how EventBridge reaches targets of a service, in whose ARNs `service` stands."""
    _deliveries[service] = delivery


def apply() -> None:
    """Wrap the delivery to one target."""
    from ministack.services import eventbridge

    deliver = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: Any, view: Any = None) -> Any:
        source = _rule_arn(rule)
        arn = str(target.get("Arn", ""))
        delivery = _deliveries.get(_service(arn))
        failure = None if delivery else _failure(arn, source, target.get("RoleArn"))
        if not delivery and not failure:
            return deliver(target, event, rule, view)
        seen = view or eventbridge._pattern_event_view(event)
        whole = seen.event_with_detail()

        def keep(why: tuple[str, str]) -> None:
            dead_letters = undelivered_events.dead_letters_of(target)
            may_send = dead_letters is not None and policy_allows(dead_letters, source, _PRINCIPAL)
            undelivered_events.keep(target, json.dumps(whole), source, *why, may_send=may_send)

        def work(how: Delivery) -> None:
            try:
                why = how(target, _input(target, rule, seen), source)
            except Exception:
                _log.exception("EventBridge: %s cannot be reached", arn)
                why = ("INTERNAL_ERROR", f"{arn} cannot be reached; the cloud's log says why")
            if why:
                keep(why)

        if failure:
            keep(failure)
        elif delivery:
            # It asks this server, whose loop may be what waits here.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(work, delivery), daemon=True).start()
        return None

    eventbridge._invoke_target = invoke_target
    eventbridge._dispatch_to_lambda = invoke_function


def _input(target: dict[str, Any], rule: Any, seen: Any) -> str | None:
    """What the target is given in the event's place, as MiniStack makes it of an event; None for the event.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    from ministack.services import eventbridge

    if transformer := target.get("InputTransformer"):
        return str(eventbridge._apply_input_transformer(transformer, rule, seen))
    if given := target.get("Input"):
        return str(given)
    if not (path := target.get("InputPath")):
        return None
    value = seen.event_with_detail()
    for part in path.strip("$.").split("."):
        if part and not (isinstance(value, dict) and part in value):
            return None
        value = value[part] if part else value
    return json.dumps(value)


def _failure(arn: str, rule: str, role: str | None) -> tuple[str, str] | None:
    """Why nothing can be delivered, as code and message of EventBridge; None if it can."""
    if ":lambda:" in arn and not _function_exists(arn):
        return "NO_RESOURCE", f"there is no function {arn}"
    if not policy_allows(arn, rule, _PRINCIPAL):
        return "NO_PERMISSIONS", f"the policy of {arn} does not let the rule in"
    if not _role_allows(arn, role):
        return "NO_PERMISSIONS", f"the target's role does not allow the rule to reach {arn}"
    return None


def _function_exists(arn: str) -> bool:
    from ministack.services import lambda_svc

    function, config, _name = lambda_svc._get_func_record_for_ref(arn)
    return bool(function and config)


def _role_allows(arn: str, role: str | None) -> bool:
    action = _ROLE_ACTIONS.get(_service(arn))
    if action is None:
        return True
    return role is not None and service_roles.may(role, _PRINCIPAL, action, arn)


def invoke_function(arn: str, payload: str) -> None:
    """Invoke a function asynchronously, as AWS's services do."""
    from ministack.services import lambda_svc

    function, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        _log.warning("there is no function %s; nothing delivered", name)
        return
    qualifier = arn.split(":")[7] if arn.count(":") == 7 else "$LATEST"
    configurations = function.get("event_invoke_configs") or {}
    unqualified = function.get("event_invoke_config") if qualifier == "$LATEST" else None
    record = {
        **lambda_svc._execution_record_for_config(function, config),
        "event_invoke_config": configurations.get(qualifier) or unqualified,
        "event_invoke_configs": {},
    }
    lambda_svc.invoke_async_with_retry(record, json.loads(payload))


def _service(arn: str) -> str:
    return arn.split(":")[2] if arn.count(":") >= 5 else ""


def _rule_arn(rule: Any) -> str:
    return str(rule.get("Arn", "")) if isinstance(rule, dict) else ""


def policy_allows(arn: str, source: str, principal: str) -> bool:
    """Whether a function, queue or topic lets a service deliver to it for a resource, by its own policy.

    Args:
        source: ARN of the rule or alarm, for `aws:SourceArn`.
        principal: of the service, for example `events.amazonaws.com`.
    """
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id, get_region

    service = _service(arn)
    action = _ACTIONS.get(service)
    if action is None:
        return True
    found = iam_evaluator._resource_policy(service, arn)
    context = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="Service",
        principal_account=get_account_id(),
        action=action,
        resource_arn=arn,
        region=get_region(),
        secure_transport=True,
        service_context={"aws:sourcearn": source, "aws:sourceaccount": get_account_id()},
    )
    policy = found[0] if found else None
    decision = iam_evaluator.evaluate_resource_policy(policy, context, service=principal).decision
    return bool(decision == "Allow")
