"""Whether the caller of a service may use the customer's key that the service would use for it."""

from __future__ import annotations

import contextvars
from typing import Any

from localcloud.aws import callers
from localcloud.aws.callers import Checked


def refusal(
    caller: Checked, action: str, key: str, via: str, encryption_context: dict[str, str]
) -> tuple[str, str] | None:
    """Ask IAM and the key's policy, as KMS does when a service calls it for somebody.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html

    Args:
        action: for example `kms:Decrypt`.
        key: id, ARN or alias; the key that AWS manages for a service is open to the account.
        via: the service, for example `s3`.
        encryption_context: what the service binds the data key to.

    Returns:
        error code and message, None if the caller may.
    """
    # S3 keeps the data key of a bucket for a while and asks KMS again for none of the objects under it.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
    decided = callers.decided()
    question = (caller.access_key_id, action, key, via, *sorted(encryption_context.items()))
    if question not in decided:
        decided[question] = _ask(caller, action, key, via, encryption_context)
    answer: tuple[str, str] | None = decided[question]
    return answer


def _ask(
    caller: Checked, action: str, key: str, via: str, encryption_context: dict[str, str]
) -> tuple[str, str] | None:
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id
    from ministack.services import kms

    record: dict[str, Any] | None = kms._resolve_key(key)
    if record is None:
        if key.endswith(f"alias/aws/{via}") or key.startswith("alias/aws/"):
            return None
        return "KMS.NotFoundException", f"Key '{key}' does not exist"
    if record.get("KeyState", "Enabled") != "Enabled":
        return "KMS.DisabledException", f"{record['Arn']} is {str(record['KeyState']).lower()}."
    context: dict[str, Any] = {
        "kms:ViaService": f"{via}.{caller.region}.amazonaws.com",
        "kms:CallerAccount": get_account_id(),
        "kms:EncryptionContextKeys": sorted(encryption_context),
        **{f"kms:EncryptionContext:{name}": value for name, value in encryption_context.items()},
    }
    # In a context of its own: the request stays the calling service's.
    denied = contextvars.copy_context().run(
        iam_evaluator.enforce, caller.access_key_id, action, "kms", caller.region, record["Arn"], context
    )
    if denied is None:
        return None
    principal = getattr(denied, "principal_arn", "anonymous")
    return "AccessDenied", (
        f"User: {principal} is not authorized to perform: {action} on resource: {record['Arn']} "
        f"because no identity-based policy allows the {action} action"
    )
