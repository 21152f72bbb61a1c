"""Versions of the function take over step by step, and go back when an alarm tells."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.durations import minutes
from modelyard.inference.props import Release
from modelyard.permissions import allow, in_one_policy, service_principal

ALIAS = "live"


class FunctionRelease(Construct):
    """CodeDeploy shifts an alias to each new version, and back when an alarm of that version fires.

    The stack's update waits for it, and is rolled back with it.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        alias: What callers use; its provisioned concurrency follows the weights.
        version: Which the alias is to point at.
        release: How fast, and what is too bad.
        faults: Metric of the version's answers that tell of a fault of its own.

    Attributes:
        group: Of CodeDeploy.
        alarms: Of the new version alone: its errors, its duration, and its faults where they are given.

    See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        alias: lambda_.Alias,
        version: lambda_.IVersion,
        release: Release,
        faults: cloudwatch.IMetric | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        # Loading it takes time, and most environments do without.
        from aws_cdk import aws_codedeploy as codedeploy

        function = version.lambda_
        # By the version's number, so that an update gives the alarms the new version before the shift begins.
        # Not by a reference to the alias, which waits for the group, which waits for the alarms.
        of_version = {
            "FunctionName": function.function_name,
            "Resource": f"{function.function_name}:{ALIAS}",
            "ExecutedVersion": version.version,
        }
        errors = self._alarm(
            "Errors",
            "of the new version: it fails, or takes longer than its timeout",
            cloudwatch.Metric(
                namespace="AWS/Lambda",
                metric_name="Errors",
                dimensions_map=of_version,
                statistic="Sum",
                period=minutes(1),
            ),
            release.errors_per_minute,
            periods=1,
        )
        duration = self._alarm(
            "Duration",
            "of the new version, p99 in milliseconds, two minutes on end",
            cloudwatch.Metric(
                namespace="AWS/Lambda",
                metric_name="Duration",
                dimensions_map=of_version,
                statistic="p99",
                period=minutes(1),
            ),
            release.p99_milliseconds,
            periods=2,
        )
        self.alarms = [errors, duration]
        if faults:
            what = "of the new version: it says that it cannot answer now"
            self.alarms.append(self._alarm("Faults", what, faults, release.faults_per_minute, periods=1))
        role = iam.Role(
            self,
            "Role",
            description="CodeDeploy: shifts the inference function's alias",
            assumed_by=service_principal("codedeploy"),
        )
        inherit_stack(role, scope)
        with in_one_policy(role, "Permissions"):
            _grant(role, function)
        self.group = codedeploy.LambdaDeploymentGroup(
            self,
            "Group",
            alias=alias,
            alarms=self.alarms,
            deployment_config=codedeploy.LambdaDeploymentConfig.from_lambda_deployment_config_name(
                self, "Config", f"CodeDeployDefault.{release.strategy}"
            ),
            auto_rollback=codedeploy.AutoRollbackConfig(
                failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True
            ),
            # CDK would attach AWS's managed policy, which is for every function of the account.
            role=role.without_policy_updates(),
        )
        # The first shift may begin in the update that makes the role.
        self.group.node.add_dependency(role)

    def _alarm(
        self, name: str, what: str, metric: cloudwatch.IMetric, threshold: float, *, periods: int
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            alarm_description=f"{name} {what}",
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )


def _grant(role: iam.Role, function: lambda_.IFunction) -> None:
    allow(
        role,
        actions=["lambda:GetAlias", "lambda:UpdateAlias"],
        resources=[function.function_arn],
    )
    allow(
        role,
        actions=["lambda:GetProvisionedConcurrencyConfig"],
        resources=[f"{function.function_arn}:{ALIAS}"],
    )
    allow(
        role,
        actions=["cloudwatch:DescribeAlarms"],
        resources=["*"],
        reason="DescribeAlarms lists, and tells of composite alarms only who may ask for all.",
    )
