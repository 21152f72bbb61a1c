"""Keys, and the roles that read what they encrypt.

https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

from __future__ import annotations

from typing import Any

from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates import names
from modelyard_cli.check.templates.model import (
    Template,
    listed,
    number,
    objects,
    part,
)
from modelyard_cli.check.templates.role_needs import needs
from modelyard_cli.check.templates.statements import may, resource_statements
from modelyard_cli.check.templates.storage import BUCKET

KEY = "AWS::KMS::Key"


@template_rule(
    "MYT633",
    "A key that nobody can manage, or everybody can use",
    "Allow kms:* to the account's root; name services and roles; rotate.",
)
def _keys(template: Template) -> Hits:
    for key in template.of(KEY):
        statements = [s for s in resource_statements(template) if s.resource is key]
        admin = any(
            s.allows and any(a in ("kms:*", "*") or a == "kms:PutKeyPolicy" for a in s.actions)
            for s in statements
        )
        if statements and not admin:
            yield key.at("KeyPolicy"), "nobody may change the policy: the key cannot be managed any more"
        if (
            key.properties.get("EnableKeyRotation") not in (True, "true")
            and key.properties.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        ):
            yield key.at("EnableKeyRotation"), Advice("is not set")
        days = number(key.properties.get("PendingWindowInDays"))
        if days is not None and not 7 <= days <= 30:
            yield key.at("PendingWindowInDays"), f"{days:g} is not within 7 to 30"
        if key.properties.get("Enabled") in (False, "false"):
            yield key.at("Enabled"), "is false: what it encrypts cannot be read"


@template_rule(
    "MYT638",
    "A role that reads encrypted data without the key",
    "Grant kms:Decrypt (and kms:GenerateDataKey to write) on the key of the bucket, table or queue.",
)
def _key_use(template: Template) -> Hits:
    for resource, path, role, action, on in needs(template):
        if action not in ("s3:GetObject", "sqs:ReceiveMessage", "sqs:SendMessage"):
            continue
        key = _key_of(template, on)
        wanted = "kms:GenerateDataKey" if action == "sqs:SendMessage" else "kms:Decrypt"
        if key is not None and not may(role, wanted, key):
            yield resource.at(path), f"{role.id} may {action}, but not {wanted} on the key"


def _key_of(template: Template, arn: str) -> str | None:
    bucket = template.assembly.target(arn, BUCKET) or template.assembly.target(arn.rsplit("/", 1)[0], BUCKET)
    queue = template.assembly.target(arn, "AWS::SQS::Queue")
    value: Any = None
    if bucket is not None:
        for rule in objects(part(bucket.properties, "BucketEncryption", "ServerSideEncryptionConfiguration")):
            value = part(rule, "ServerSideEncryptionByDefault", "KMSMasterKeyID")
    elif queue is not None:
        value = queue.properties.get("KmsMasterKeyId")
    key = template.assembly.target(value, KEY) if listed(value) else None
    return names.arn_of(key) if key is not None else None
