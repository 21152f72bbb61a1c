"""One group of the SageMaker model registry, its grants, and the event of a changed approval."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.permissions import allow
from modelyard.registry.registry_emptier import MARK, RegistryEmptier
from modelyard.storage import Retention

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_VERSIONS_REASON = "Versions of a model package are numbered at run time; the grant ends at the group."
# Listing is authorized on the versions, not on their group (Service Authorization Reference).
_READ = ("sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages")


class ModelRegistry(Construct):
    """A model package group: versions of one model, each pending, approved or rejected.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        group_name: Name of the group, 1 to 63 letters, digits and inner hyphens. Physical, since SageMaker
            needs one and pipelines register by name.
        description: For people who browse the registry.
        retention: What becomes of the versions when the stack is deleted; the group is kept by default.

    Attributes:
        group: The CloudFormation resource.
        group_name: Its name.

    Raises:
        ValueError: A name that SageMaker would refuse.

    Example:
        >>> registry = ModelRegistry(stack, "Registry", group_name="refinance-interest-rate")
        >>> registry.on_approval_change(stack, "Deploy", target=targets.LambdaFunction(deployer))

    See https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
    """

    group: sagemaker.CfnModelPackageGroup
    group_name: str

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        group_name: str,
        description: str | None = None,
        retention: Retention | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stack = inherit_stack(self, scope)
        if not _NAME.fullmatch(group_name):
            raise ValueError(f"group_name {group_name!r}: use 1 to 63 letters, digits and inner hyphens")
        self.group_name = group_name
        retention = retention or Retention()
        self.group = sagemaker.CfnModelPackageGroup(
            self,
            "Group",
            model_package_group_name=group_name,
            model_package_group_description=description,
            tags=[MARK] if retention.destroys else None,
        )
        self.group.apply_removal_policy(retention.removal_policy)
        if retention.destroys:
            RegistryEmptier.of(self._stack).empty_on_delete(
                self,
                self.group,
                name=group_name,
                group_arn=self.group_arn,
                packages_arn=self.packages_arn,
            )

    @functools.cached_property
    def group_arn(self) -> str:
        """ARN of the group."""
        return arn_in_stack(self._stack, "sagemaker", f"model-package-group/{self.group_name}")

    @functools.cached_property
    def packages_arn(self) -> str:
        """Pattern of the ARNs of all versions in the group."""
        return arn_in_stack(self._stack, "sagemaker", f"model-package/{self.group_name}/*")

    def on_approval_change(
        self, scope: Construct, construct_id: str, *, target: events.IRuleTarget
    ) -> events.Rule:
        """Call `target` whenever a version of this group is registered, approved, rejected or deleted.

        :func:`approval_rule` does it for several groups.
        """
        return approval_rule(scope, construct_id, groups=[self.group_name], target=target)

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Allow listing and describing the versions."""
        allow(grantee, actions=_READ, resources=[self.packages_arn], reason=_VERSIONS_REASON)

    def grant_register(self, grantee: iam.IGrantable, *, may_approve: bool = False) -> None:
        """Allow adding versions.

        Args:
            grantee: Who registers.
            may_approve: Whether a version may be registered as approved already, without a reviewer.
        """
        # A request without a status, which makes the version wait for approval, does not fill the key: a
        # negated operator holds then.
        undecided = {"StringNotEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
        allow(
            grantee,
            actions=["sagemaker:CreateModelPackage"],
            resources=[self.group_arn, self.packages_arn],
            conditions=None if may_approve else undecided,
            reason=_VERSIONS_REASON,
        )
        # No AddTags: SageMaker refuses tags of a version, which has those of its group.
        allow(
            grantee,
            actions=["sagemaker:DescribeModelPackage"],
            resources=[self.packages_arn],
            reason=_VERSIONS_REASON,
        )

    def grant_approve(self, grantee: iam.IGrantable) -> None:
        """Allow changing the approval of versions, and reading them."""
        allow(
            grantee,
            actions=[*_READ, "sagemaker:UpdateModelPackage"],
            resources=[self.packages_arn],
            reason=_VERSIONS_REASON,
        )


def approval_rule(
    scope: Construct, construct_id: str, *, groups: Sequence[str], target: events.IRuleTarget
) -> events.Rule:
    """Call `target` whenever a version in one of the `groups` is registered, approved, rejected or deleted.

    Events may be late, doubled and out of order: read the registry, do not act on the event's content.

    Args:
        scope: Where the rule lives: with the target, so that the registry's stack does not depend on it.
        construct_id: Unique within `scope`.
        groups: Names of model package groups.
        target: What to call.

    See https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    return events.Rule(
        scope,
        construct_id,
        description=f"Changed versions of {', '.join(groups)}"[:512],
        event_pattern=events.EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Model Package State Change"],
            detail={"ModelPackageGroupName": list(groups)},
        ),
        targets=[target],
    )
