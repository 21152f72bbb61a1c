"""The table that says which version of each model is served."""

from __future__ import annotations

import functools

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from modelyard.keys import only_through
from modelyard.permissions import allow
from modelyard.storage import Retention


class RecordTable(Construct):
    """One item per model package group: what serves, what served before, what went wrong.

    Under a key of its own, so that who resolves a model needs no key to the data.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        retention: What becomes of the records when the stack is deleted; kept by default.

    Attributes:
        table: The table, keyed by `group`.
        key: What encrypts it.

    Example:
        >>> records = RecordTable(stack, "Records")
        >>> records.grant_read(function)
    """

    table: dynamodb.Table
    key: kms.Key

    def __init__(self, scope: Construct, construct_id: str, *, retention: Retention | None = None) -> None:
        super().__init__(scope, construct_id)
        retention = retention or Retention()
        removal = retention.removal_policy
        self.key = kms.Key(
            self,
            "Key",
            description=f"Deployment records in {self.node.path}",
            enable_key_rotation=True,
            removal_policy=removal,
        )
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="group", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=not retention.destroys,
            removal_policy=removal,
        )

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Allow reading records one by one."""
        self._grant(grantee, ["dynamodb:GetItem"])

    def grant_write(self, grantee: iam.IGrantable) -> None:
        """Allow reading and writing records one by one."""
        self._grant(grantee, ["dynamodb:GetItem", "dynamodb:PutItem"])

    # Asked for once: each is a question to Node, and every reader's grant needs both.
    @functools.cached_property
    def _arns(self) -> tuple[str, str]:
        return self.table.table_arn, self.key.key_arn

    def _grant(self, grantee: iam.IGrantable, actions: list[str]) -> None:
        table_arn, key_arn = self._arns
        allow(grantee, actions=actions, resources=[table_arn])
        allow(grantee, actions=["kms:Decrypt"], resources=[key_arn], conditions=only_through("dynamodb"))
