"""The endpoint, its scaling, and the deployment of approved models."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.build_context import BuildContext
from modelyard.images import ContainerImage
from modelyard.registry import ModelRegistry
from modelyard.serving import EndpointScaling, ModelDeployer, ModelSource, MultiModelEndpoint
from modelyard.storage import IDataBucket
from pipeline_defs.catalog import IMAGES, PIPELINES
from pipeline_defs.code import REPO
from stacks.alarm_topic import AlarmTopic
from stacks.environments import Environment
from stacks.pipeline_stack import PipelineStack
from stacks.stage_stack import StageStack
from stacks.training_settings import jobs_of

# The models of an endpoint share one container, so one image, which serves those of all families.
SERVED_IMAGE = "serving"


class ServingStack(StageStack):
    """One multi-model endpoint for the models of all pipelines of the catalogue, deployed by approval.

    Attributes:
        endpoint: The endpoint.
        models: What it serves: registries by the name in the catalogue.
        deployer: What keeps it at what the registries approve.
        alarm_topic: What hears of alarms, None where nothing does.
    """

    endpoint: MultiModelEndpoint
    models: dict[str, ModelRegistry]
    deployer: ModelDeployer
    alarm_topic: AlarmTopic | None

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: IDataBucket,
        pipelines: PipelineStack,
    ) -> None:
        super().__init__(
            scope, construct_id, environment=environment, description="endpoint and model deployment"
        )
        alarms = environment.alarms
        self.alarm_topic = (
            AlarmTopic(self, "Alarms", environment=environment, emails=alarms.emails) if alarms else None
        )
        self.endpoint = MultiModelEndpoint(
            self,
            "Endpoint",
            endpoint_name=environment.named("modelyard"),
            image=ContainerImage.build(
                self,
                BuildContext(folder=REPO / "training", dockerfile=IMAGES[SERVED_IMAGE]),
                name=f"{SERVED_IMAGE} image",
            ),
            data=data,
            variant=environment.serving.variant,
            rollout=environment.serving.rollout,
            capture=environment.serving.capture,
        )
        if self.alarm_topic:
            self.alarm_topic.hear([self.endpoint.server_errors])
        EndpointScaling(self, "Scaling", endpoint=self.endpoint, scaling=environment.serving.scaling)
        self.models = pipelines.registries
        self.deployer = ModelDeployer(
            self,
            "Deployer",
            endpoint=self.endpoint,
            data=data,
            sources=[
                ModelSource(
                    registry=self.models[spec.name],
                    artifacts=spec.writes,
                    also=jobs_of(spec, environment),
                )
                for spec in PIPELINES
            ],
            canary=environment.serving.canary,
            retention=environment.data.retention,
            alarm_topic=self.alarm_topic.topic if self.alarm_topic else None,
        )
        # The groups exist before anything here needs them.
        self.add_stack_dependency(pipelines)
        CfnOutput(self, "EndpointName", value=self.endpoint.endpoint_name, description="Multi-model endpoint")
        CfnOutput(
            self,
            "RecordTableName",
            value=self.deployer.records.table.table_name,
            description="Which version of each model is served",
        )
        CfnOutput(
            self,
            "ModelGroups",
            value=",".join(registry.group_name for registry in self.models.values()),
            description="Model package groups that are served",
        )
