"""Predictions of the deployed models over a function URL."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard.arns import inherit_stack
from modelyard.durations import minutes
from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.inference.image_source import ImageSource
from modelyard.inference.props import Concurrency, Release
from modelyard.inference.release import ALIAS, FunctionRelease
from modelyard.inference.runtime.settings import Settings
from modelyard.permissions import allow, in_one_policy
from modelyard.runtime import metrics
from modelyard.serving import MultiModelEndpoint, RecordTable


class InferenceFunction(Construct):
    """Resolves a model's name to the version that is served, checks the rows, and invokes the endpoint.

    Its role may invoke that endpoint with archives of those models, read that table, and read images where
    some are named: nothing else.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        endpoint: Where models are served.
        records: Which version of a model is served.
        models: Names that callers may ask for; each is a model package group.
        concurrency: Warm and reserved environments.
        release: How new versions take over; None: at once.
        images: Where images may lie that models are asked about; None: it takes none, and has no right in S3.

    Attributes:
        function: The function.
        alias: `live`, which the URL and the provisioned concurrency belong to.
        url: Function URL; callers sign with SigV4 (service `lambda`).
        release: What shifts the alias to new versions, None where that is done at once.

    Raises:
        ValueError: No models.

    Example:
        >>> inference = InferenceFunction(stack, "Inference", endpoint=endpoint, records=deployer.records,
        ...     models=["refinance-interest-rate"])
        >>> inference.grant_invoke_url(role)

    See https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    """

    function: RuntimeFunction
    alias: lambda_.Alias
    url: lambda_.FunctionUrl
    release: FunctionRelease | None

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: MultiModelEndpoint,
        records: RecordTable,
        models: Sequence[str],
        concurrency: Concurrency | None = None,
        release: Release | None = None,
        images: ImageSource | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        concurrency = concurrency or Concurrency()
        settings = Settings(
            endpoint_name=endpoint.endpoint_name,
            table_name=records.table.table_name,
            models=tuple(models),
            image_bucket=images.data.bucket_name if images else "",
            image_prefix=images.prefix if images else "",
        )
        self.function = RuntimeFunction(
            self,
            "Function",
            domain="inference",
            description=f"Predictions of endpoint {endpoint.endpoint_name}",
            environment=settings.to_environment(),
            size=FunctionSize(memory_mib=512, timeout_seconds=settings.timeout_seconds),
            reserved_concurrency=concurrency.reserved,
        )
        role = self.function.execution_role
        with in_one_policy(role, "Permissions"):
            endpoint.grant_invoke(role, target_models=[f"{model}/*.tar.gz" for model in models])
            records.grant_read(role)
            if images:
                images.data.grant_get(role, f"{images.prefix}*")
        version = self.function.current_version
        self.alias = lambda_.Alias(
            self,
            "Live",
            alias_name=ALIAS,
            version=version,
            provisioned_concurrent_executions=concurrency.provisioned,
        )
        self.release = self._release(version, release) if release else None
        self.url = self.alias.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM)

    def _release(self, version: lambda_.Version, release: Release) -> FunctionRelease:
        faults = cloudwatch.Metric(
            namespace=metrics.INFERENCE,
            metric_name=metrics.FAULTS,
            dimensions_map={
                metrics.FUNCTION: self.function.function_name,
                metrics.FUNCTION_VERSION: version.version,
            },
            statistic="Sum",
            period=minutes(1),
        )
        return FunctionRelease(
            self, "Release", alias=self.alias, version=version, release=release, faults=faults
        )

    def grant_invoke_url(self, grantee: iam.IGrantable) -> None:
        """Allow calling the URL. Both actions are needed, each limited to calls through the URL."""
        allow(
            grantee,
            actions=["lambda:InvokeFunctionUrl"],
            resources=[self.alias.function_arn],
            conditions={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        )
        allow(
            grantee,
            actions=["lambda:InvokeFunction"],
            resources=[self.alias.function_arn],
            conditions={"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        )

    def metric_invocations(self) -> cloudwatch.Metric:
        """Requests, sum per minute."""
        return self.alias.metric_invocations(period=minutes(1))

    def metric_errors(self) -> cloudwatch.Metric:
        """Requests that ended in an exception, sum per minute."""
        return self.alias.metric_errors(period=minutes(1))

    def metric_duration(self) -> cloudwatch.Metric:
        """Time in the function, p99 per minute, in milliseconds."""
        return self.alias.metric_duration(period=minutes(1), statistic="p99")

    def metric_throttles(self) -> cloudwatch.Metric:
        """Requests refused for want of concurrency, sum per minute."""
        return self.alias.metric_throttles(period=minutes(1))
