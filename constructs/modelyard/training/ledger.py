"""The table that names each image of a dataset once."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from modelyard.keys import only_through
from modelyard.permissions import allow
from modelyard.storage import Retention


class Ledger(Construct):
    """One item per image: the version that counts, and the shard that holds it or why none does.

    May serve several datasets, each with a partition of its own: DynamoDB takes 1,000 records a second of it.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        retention: What becomes of it when the stack is deleted; kept by default. Without it the shards are
            bytes that nobody can tell apart.

    Attributes:
        table: The table, keyed by `dataset` and `name`.
        key: What encrypts it.
    """

    table: dynamodb.Table
    key: kms.Key

    def __init__(self, scope: Construct, construct_id: str, *, retention: Retention | None = None) -> None:
        super().__init__(scope, construct_id)
        retention = retention or Retention()
        self.key = kms.Key(
            self,
            "Key",
            description=f"Ledger of images in {self.node.path}",
            enable_key_rotation=True,
            removal_policy=retention.removal_policy,
        )
        text = dynamodb.AttributeType.STRING
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="dataset", type=text),
            sort_key=dynamodb.Attribute(name="name", type=text),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=not retention.destroys,
            removal_policy=retention.removal_policy,
        )

    def grant_claim(self, grantee: iam.IGrantable, dataset: str) -> None:
        """Allow writing records of one dataset, which answers whether they were taken."""
        self._grant(grantee, ["dynamodb:PartiQLInsert", "dynamodb:PutItem"], dataset)

    def grant_read(self, grantee: iam.IGrantable, dataset: str) -> None:
        """Allow reading all records of one dataset."""
        self._grant(grantee, ["dynamodb:Query"], dataset)

    def _grant(self, grantee: iam.IGrantable, actions: list[str], dataset: str) -> None:
        allow(
            grantee,
            actions=actions,
            resources=[self.table.table_arn],
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [dataset]}},
        )
        allow(
            grantee,
            actions=["kms:Decrypt"],
            resources=[self.key.key_arn],
            conditions=only_through("dynamodb"),
        )
