"""The one gate of authorization, where MiniStack is laxer than AWS.

Unsigned requests get what a resource's own policy gives everybody, and no more: MiniStack serves an
unsigned S3 request or function URL call as the account's root.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html

A function URL asks for two actions, as new ones have since October 2025; MiniStack asks for the first.
https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html

A function URL takes a signature for `lambda` alone; MiniStack takes one for any service.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html

Every decision is noted in the audit.
"""

from __future__ import annotations

from typing import Any

from localcloud.aws import callers
from localcloud.aws.audit import Audit


def apply(audit: Audit) -> None:
    """Wrap MiniStack's one gate of authorization."""
    from ministack.core import iam_evaluator

    decide = iam_evaluator.enforce

    def judge(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str,
        service_context: dict[str, Any] | None,
    ) -> Any:
        unsigned = not access_key_id and iam_evaluator._anonymous.get()
        if unsigned and (service == "s3" or iam_action.startswith("lambda:InvokeFunction")):
            result = _as_anybody(iam_action, service, region, resource_arn, service_context or {})
        else:
            result = decide(access_key_id, iam_action, service, region, resource_arn, service_context)
        audit.record(
            _principal(access_key_id, result), iam_action, resource_arn, _decision(result), service_context
        )
        return result

    def enforce(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        callers.note(access_key_id, service, region)
        if iam_action == "lambda:InvokeFunctionUrl" and (misled := _other_scope("lambda")):
            audit.record(access_key_id, iam_action, resource_arn, misled.code, service_context)
            return misled
        result = judge(access_key_id, iam_action, service, region, resource_arn, service_context)
        if result is None and iam_action == "lambda:InvokeFunctionUrl":
            via = {"lambda:InvokedViaFunctionUrl": "true"}
            result = judge(access_key_id, "lambda:InvokeFunction", service, region, resource_arn, via)
        return result

    iam_evaluator.enforce = enforce


def _other_scope(service: str) -> Any:
    """The error of a request that is signed for another service than the one that it reaches."""
    from ministack.core import iam_evaluator, sigv4

    request = iam_evaluator._signed_request.get()
    if request is None or request.unverifiable or request.sigv2:
        return None
    signature = (
        sigv4.parse_query_signature(request.query_params)
        if request.presigned
        else sigv4.parse_header_signature(request.headers)
    )
    # What is no signature at all MiniStack refuses itself.
    if isinstance(signature, tuple) or signature.service == service:
        return None
    text = f"Credential should be scoped to correct service: '{service}'. "
    return iam_evaluator.AuthError("InvalidSignatureException", text)


def _as_anybody(
    action: str, service: str, region: str, resource_arn: str, service_context: dict[str, Any]
) -> Any:
    from ministack.core import iam_evaluator

    context = iam_evaluator.EvalContext(
        principal_arn="anonymous",
        principal_type="Anonymous",
        principal_account="",
        action=action,
        resource_arn=resource_arn,
        region=region,
        service_context={key.lower(): value for key, value in service_context.items()},
    )
    found = iam_evaluator._resource_policy(service, resource_arn)
    result = iam_evaluator.evaluate_resource_policy(found[0] if found else None, context)
    return None if result.decision == "Allow" else result


def _principal(access_key_id: str, result: Any) -> str:
    named = getattr(result, "principal_arn", None)
    if named:
        return str(named)
    decided, question = callers.decided(), ("principal", access_key_id)
    if question not in decided:
        decided[question] = _principal_of(access_key_id)
    return str(decided[question])


def _principal_of(access_key_id: str) -> str:
    from ministack.core import iam_evaluator, responses

    account = responses._account_from_sts_session(access_key_id) or responses.get_account_id()
    found = iam_evaluator.resolve_credential(access_key_id, account)
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        return "anonymous" if not access_key_id else f"unknown key {access_key_id}"
    return str(found.principal_arn)


def _decision(result: Any) -> str:
    if result is None:
        return "Allow"
    return str(result.decision if hasattr(result, "decision") else result.code)
