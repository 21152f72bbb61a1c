"""A bucket's and a key's policy name only principals that exist, and a bucket's only that bucket.

MiniStack takes any text.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.aws.differences.iam_documents import principal_exists
from localcloud.aws.policy_documents import texts


def apply() -> None:
    """Wrap what sets policies, by the API and by templates."""
    from ministack.core.responses import error_response_json
    from ministack.services import kms, s3
    from ministack.services.cloudformation import provisioners

    put_bucket_policy = s3._put_bucket_policy
    handlers = provisioners._RESOURCE_HANDLERS["AWS::S3::BucketPolicy"]
    create, update = handlers["create"], handlers["update"]

    def put_checked_bucket_policy(name: str, body: bytes) -> Any:
        fault = bucket_policy_fault(name, body.decode(errors="replace"))
        return put_bucket_policy(name, body) if fault is None else s3._error("MalformedPolicy", fault, 400)

    def create_bucket_policy(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        _refuse(properties)
        return create(logical_id, properties, stack_name)

    def update_bucket_policy(
        physical_id: str, old: Any, new: Mapping[str, Any], *more: Any, **named: Any
    ) -> Any:
        _refuse(new)
        return update(physical_id, old, new, *more, **named)

    def with_key_policy(operate: Any) -> Any:
        def checked(data: Mapping[str, Any]) -> Any:
            if not any(True for _ in unknown_principals(data.get("Policy") or {})):
                return operate(data)
            text = "Policy contains a statement with one or more invalid principals."
            return error_response_json("MalformedPolicyDocumentException", text, 400)

        return checked

    s3._put_bucket_policy = put_checked_bucket_policy
    # Templates' keys come this way, too.
    kms._create_key = with_key_policy(kms._create_key)
    kms._put_key_policy = with_key_policy(kms._put_key_policy)
    handlers.update(create=create_bucket_policy, update=update_bucket_policy)


def _refuse(properties: Mapping[str, Any]) -> None:
    fault = bucket_policy_fault(str(properties.get("Bucket", "")), properties.get("PolicyDocument") or {})
    if fault is not None:
        raise ValueError(f"{fault} (Service: S3, Status Code: 400, Error Code: MalformedPolicy)")


def bucket_policy_fault(bucket: str, document: str | Mapping[str, Any]) -> str | None:
    """What is wrong with a bucket's policy, in S3's words; None if nothing."""
    if next(unknown_principals(document), None) is not None:
        return "Invalid principal in policy"
    own = f"arn:aws:s3:::{bucket}"
    for statement in _statements(document):
        named = texts(statement.get("Resource")) + texts(statement.get("NotResource"))
        if any(resource != "*" and resource.partition("/")[0] != own for resource in named):
            return "Policy has invalid resource"
    return None


def unknown_principals(document: str | Mapping[str, Any]) -> Iterator[str]:
    """The principals of a policy that are none of this account's; other accounts' are taken for existing."""
    for statement in _statements(document):
        for element in ("Principal", "NotPrincipal"):
            principal = statement.get(element)
            for name in texts(principal.get("AWS")) if isinstance(principal, Mapping) else ():
                if not (name == "*" or (name.isdigit() and len(name) == 12) or principal_exists(name)):
                    yield name


def _statements(document: str | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    try:
        policy = json.loads(document) if isinstance(document, str) else document
    except ValueError:
        return []
    statements = policy.get("Statement", []) if isinstance(policy, Mapping) else []
    return [statements] if isinstance(statements, Mapping) else list(statements)
