"""A SageMaker endpoint that serves many models from one prefix."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.durations import minutes
from modelyard.images import ContainerImage
from modelyard.permissions import allow, in_one_policy, service_principal
from modelyard.serving.props import DataCapture, Rollout, Variant
from modelyard.storage import IDataBucket


class MultiModelEndpoint(Construct):
    """Endpoint whose instances load models on first use from `s3://<bucket>/<prefix>`.

    Adding a model is adding an object below the prefix. Objects there are immutable: loaded instances keep
    the old content of an overwritten one.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        endpoint_name: Physical name, by which clients invoke.
        image: Serving image with the multi-model contract.
        data: Bucket of the model archives; its key also encrypts the instances' volumes (local storage is
            encrypted in hardware, and so are volumes of a bucket without a key of its own, by AWS's).
        model_prefix: Prefix of the archives in the bucket.
        variant: Instances.
        rollout: How updates replace the fleet.
        capture: Which requests and answers SageMaker keeps in the bucket; none by default.
        log_retention: How long the containers' logs are kept.

    Attributes:
        endpoint, endpoint_config, model: The CloudFormation resources.
        role: What the containers run under.
        log_group: SageMaker's group of this endpoint, made here since SageMaker's would be kept for ever.
        server_errors: Alarm that rolls updates back.

    Raises:
        ValueError: Captures would lie among the models, or the models among the captures.

    Example:
        >>> endpoint = MultiModelEndpoint(stack, "Endpoint", endpoint_name="models", image=image, data=data)
        >>> endpoint.grant_invoke(function, target_models=["refinance-interest-rate/*.tar.gz"])

    See https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoints.html
    """

    model: sagemaker.CfnModel
    endpoint_config: sagemaker.CfnEndpointConfig
    endpoint: sagemaker.CfnEndpoint
    role: iam.Role
    log_group: logs.LogGroup
    server_errors: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint_name: str,
        image: ContainerImage,
        data: IDataBucket,
        model_prefix: str = "models/multi/",
        variant: Variant | None = None,
        rollout: Rollout | None = None,
        capture: DataCapture | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
    ) -> None:
        super().__init__(scope, construct_id)
        self.endpoint_name = endpoint_name
        self.model_prefix = model_prefix
        self.variant = variant or Variant()
        self._stack = inherit_stack(self, scope)
        self.role = iam.Role(
            self,
            "Role",
            description=f"Containers of endpoint {endpoint_name}",
            assumed_by=service_principal("sagemaker"),
        )
        inherit_stack(self.role, scope)
        self.model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=self.role.role_arn,
            # SageMaker fetches the archives and hands the container paths: it needs no network.
            enable_network_isolation=True,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=image.uri,
                mode="MultiModel",
                model_data_url=f"s3://{data.bucket_name}/{model_prefix}",
                multi_model_config=sagemaker.CfnModel.MultiModelConfigProperty(model_cache_setting="Enabled"),
            ),
        )
        # SageMaker tries the role's access to the prefix when the model is created.
        self.model.node.add_dependency(self.role)
        with in_one_policy(self.role, "Permissions"):
            self._allow_containers(image, data)
            self.endpoint_config = self._endpoint_config(data, capture)
            self.server_errors = self._alarm(rollout or Rollout())
        self.endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=endpoint_name,
            endpoint_config_name=self.endpoint_config.attr_endpoint_config_name,
            # Without it an update sets the instance count back to the initial one, whatever scaling had
            # decided.
            retain_all_variant_properties=True,
            deployment_config=self._deployment(rollout or Rollout()),
        )
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=self._log_group_name,
            retention=log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        # There before SageMaker would make it, deleted when nothing writes to it any more.
        self.endpoint.node.add_dependency(self.log_group)

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        # SageMaker writes names in lower case in an endpoint's ARN.
        return arn_in_stack(self._stack, "sagemaker", f"endpoint/{self.endpoint_name.lower()}")

    def grant_invoke(self, grantee: iam.IGrantable, *, target_models: Sequence[str]) -> None:
        """Allow predictions of some models.

        Args:
            grantee: Who may invoke.
            target_models: Patterns of archives below the model prefix, for example `["refinance/*.tar.gz"]`.

        Raises:
            ValueError: No pattern.
        """
        if not target_models:
            raise ValueError(
                "grant_invoke needs target_models, for example ['refinance-interest-rate/*.tar.gz']"
            )
        allow(
            grantee,
            actions=["sagemaker:InvokeEndpoint"],
            resources=[self.endpoint_arn],
            conditions={"StringLike": {"sagemaker:TargetModel": list(target_models)}},
        )

    def metric_invocations(self) -> cloudwatch.Metric:
        """Requests, sum per minute."""
        return self._metric("Invocations", "Sum")

    def metric_invocations_per_instance(self) -> cloudwatch.Metric:
        """Requests per instance, sum per minute: what scaling tracks."""
        return self._metric("InvocationsPerInstance", "Sum")

    def metric_server_errors(self) -> cloudwatch.Metric:
        """Requests answered with a server error, sum per minute."""
        return self._metric("Invocation5XXErrors", "Sum")

    def metric_server_error_rate(self) -> cloudwatch.Metric:
        """Share of requests answered with a server error per minute, 0 to 1."""
        # SageMaker reports a 0 for every other request, so that the average is the share.
        return self._metric("Invocation5XXErrors", "Average")

    def metric_model_latency(self) -> cloudwatch.Metric:
        """Time in the container, p99 per minute, in microseconds."""
        return self._metric("ModelLatency", "p99")

    def metric_model_loading_wait(self) -> cloudwatch.Metric:
        """Time that requests waited for a model to load, p99 per minute, in microseconds."""
        return self._metric("ModelLoadingWaitTime", "p99")

    @property
    def _log_group_name(self) -> str:
        return f"/aws/sagemaker/Endpoints/{self.endpoint_name}"

    def _allow_containers(self, image: ContainerImage, data: IDataBucket) -> None:
        data.grant_read(self.role, self.model_prefix)
        image.grant_pull(self.role)
        allow(
            self.role,
            actions=[
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            resources=[arn_in_stack(self._stack, "logs", f"log-group:{self._log_group_name}:*")],
            reason="One log stream per instance, named at run time, in SageMaker's own group.",
        )
        allow(
            self.role,
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
            reason="cloudwatch:PutMetricData takes no resource; the condition limits the namespace.",
        )

    def _endpoint_config(self, data: IDataBucket, capture: DataCapture | None) -> sagemaker.CfnEndpointConfig:
        return sagemaker.CfnEndpointConfig(
            self,
            "EndpointConfig",
            kms_key_id=None if self.variant.local_storage else data.key_arn,
            data_capture_config=self._capture(data, capture) if capture else None,
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=self.variant.name,
                    model_name=self.model.attr_model_name,
                    instance_type=self.variant.instance_type,
                    initial_instance_count=self.variant.initial_instances,
                    initial_variant_weight=1.0,
                    volume_size_in_gb=self.variant.ebs_gib,
                )
            ],
        )

    def _capture(
        self, data: IDataBucket, capture: DataCapture
    ) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty:
        if capture.prefix.startswith(self.model_prefix) or self.model_prefix.startswith(capture.prefix):
            raise ValueError(
                f"DataCapture.prefix {capture.prefix!r} and the models' {self.model_prefix!r} lie in each "
                "other: what callers send would be a model; choose another"
            )
        # SageMaker writes under the model's role, below the endpoint's name.
        data.grant_write(self.role, f"{capture.prefix}{self.endpoint_name}/", multipart=False)
        modes = {"Input": capture.input, "Output": capture.output}
        config = sagemaker.CfnEndpointConfig
        return config.DataCaptureConfigProperty(
            enable_capture=True,
            initial_sampling_percentage=capture.percent,
            destination_s3_uri=f"s3://{data.bucket_name}/{capture.prefix.rstrip('/')}",
            kms_key_id=data.key_arn,
            capture_options=[
                config.CaptureOptionProperty(capture_mode=mode) for mode, wanted in modes.items() if wanted
            ],
            capture_content_type_header=config.CaptureContentTypeHeaderProperty(
                csv_content_types=list(capture.csv_content_types),
                json_content_types=list(capture.json_content_types),
            ),
        )

    def _alarm(self, rollout: Rollout) -> cloudwatch.Alarm:
        alarm = self.metric_server_error_rate().create_alarm(
            self,
            "ServerErrors",
            alarm_description=f"Endpoint {self.endpoint_name} answers with errors. Rolls updates back.",
            threshold=rollout.error_percent / 100,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        # SageMaker looks at it under the model's role.
        # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        allow(self.role, actions=["cloudwatch:DescribeAlarms"], resources=[alarm.alarm_arn])
        return alarm

    def _deployment(self, rollout: Rollout) -> sagemaker.CfnEndpoint.DeploymentConfigProperty:
        canary = (
            sagemaker.CfnEndpoint.CapacitySizeProperty(type="CAPACITY_PERCENT", value=rollout.canary_percent)
            if rollout.canary_percent
            else None
        )
        return sagemaker.CfnEndpoint.DeploymentConfigProperty(
            auto_rollback_configuration=sagemaker.CfnEndpoint.AutoRollbackConfigProperty(
                alarms=[sagemaker.CfnEndpoint.AlarmProperty(alarm_name=self.server_errors.alarm_name)]
            ),
            blue_green_update_policy=sagemaker.CfnEndpoint.BlueGreenUpdatePolicyProperty(
                traffic_routing_configuration=sagemaker.CfnEndpoint.TrafficRoutingConfigProperty(
                    type="CANARY" if canary else "ALL_AT_ONCE",
                    canary_size=canary,
                    wait_interval_in_seconds=rollout.bake_seconds,
                ),
                termination_wait_in_seconds=rollout.bake_seconds,
                maximum_execution_timeout_in_seconds=rollout.limit_seconds,
            ),
        )

    def _metric(self, name: str, statistic: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=name,
            dimensions_map={"EndpointName": self.endpoint_name, "VariantName": self.variant.name},
            statistic=statistic,
            period=minutes(1),
        )
