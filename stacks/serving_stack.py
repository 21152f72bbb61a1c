"""The endpoint, its scaling, and the deployment of approved models."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.serving import EndpointScaling, ModelDeployer, ModelSource, MultiModelEndpoint
from modelyard.storage import IDataBucket
from pipeline_defs.catalog import PIPELINES
from stacks.environments import Environment
from stacks.pipeline_stack import PipelineStack
from stacks.stage_stack import StageStack


class ServingStack(StageStack):
    """One multi-model endpoint for all pipelines of the catalogue.

    Attributes:
        endpoint: The endpoint.
        deployer: What keeps it at what the registries approve.
    """

    endpoint: MultiModelEndpoint
    deployer: ModelDeployer

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
        self.endpoint = MultiModelEndpoint(
            self,
            "Endpoint",
            endpoint_name=environment.named("modelyard"),
            image=pipelines.image,
            data=data,
            variant=environment.serving.variant,
            rollout=environment.serving.rollout,
        )
        EndpointScaling(self, "Scaling", endpoint=self.endpoint, scaling=environment.serving.scaling)
        self.deployer = ModelDeployer(
            self,
            "Deployer",
            endpoint=self.endpoint,
            data=data,
            sources=[
                ModelSource(registry=pipelines.registries[spec.name], artifacts=spec.writes)
                for spec in PIPELINES
            ],
            retention=environment.data.retention,
        )
        # The image is pushed, and the groups exist, before anything here needs them.
        self.add_stack_dependency(pipelines)
        CfnOutput(self, "EndpointName", value=self.endpoint.endpoint_name, description="Multi-model endpoint")
        CfnOutput(
            self,
            "RecordTableName",
            value=self.deployer.records.table.table_name,
            description="Which version of each model is served",
        )
