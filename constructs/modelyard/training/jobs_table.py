"""The table of training jobs."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from modelyard.keys import only_through
from modelyard.permissions import allow
from modelyard.storage import Retention
from modelyard.training.runtime.aws_names import INDEX


class JobsTable(Construct):
    """Records of jobs, the slots that are held, and what trainers report.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        retention: What becomes of it when the stack is deleted; kept by default.

    Attributes:
        table: The table, keyed by `id`.
        key: What encrypts it.

    Example:
        >>> table = JobsTable(stack, "Records")
        >>> table.grant_report(task_role)
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
            description=f"Training jobs in {self.node.path}",
            enable_key_rotation=True,
            removal_policy=removal,
        )
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=not retention.destroys,
            removal_policy=removal,
        )
        self.table.add_global_secondary_index(
            index_name=INDEX,
            partition_key=dynamodb.Attribute(name="standing", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="submitted", type=dynamodb.AttributeType.NUMBER),
        )
        self._arn = self.table.table_arn

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Allow reading and listing jobs."""
        self._grant(grantee, ["dynamodb:GetItem"])
        allow(grantee, actions=["dynamodb:Query"], resources=[f"{self._arn}/index/{INDEX}"])

    def grant_write(self, grantee: iam.IGrantable) -> None:
        """Allow reading and writing records one by one."""
        self._grant(grantee, ["dynamodb:GetItem", "dynamodb:PutItem"])

    def grant_report(self, grantee: iam.IGrantable) -> None:
        """Allow what a trainer does: its report, and no record of a job or of slots.

        See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
        """
        self._grant(
            grantee,
            ["dynamodb:GetItem", "dynamodb:UpdateItem"],
            {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["report/*"]}},
        )

    def _grant(
        self,
        grantee: iam.IGrantable,
        actions: list[str],
        conditions: dict[str, dict[str, list[str]]] | None = None,
    ) -> None:
        allow(grantee, actions=actions, resources=[self._arn], conditions=conditions)
        allow(
            grantee,
            actions=["kms:Decrypt"],
            resources=[self.key.key_arn],
            conditions=only_through("dynamodb"),
        )
