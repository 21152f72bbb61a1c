"""The images, and every pipeline of the catalogue with its model registry."""

from __future__ import annotations

from aws_cdk import CfnOutput
from constructs import Construct

from modelyard.build_context import BuildContext
from modelyard.images import ContainerImage
from modelyard.pipeline import PipelineData, PipelineDefinition, SageMakerPipeline, StepCode
from modelyard.registry import ModelRegistry
from modelyard.storage import IDataBucket
from pipeline_defs.catalog import IMAGES, PIPELINES, PipelineSpec, load_definition
from pipeline_defs.code import REPO, code_files_of
from stacks.environments import Environment
from stacks.stage_stack import StageStack


class PipelineStack(StageStack):
    """Pipelines from `pipeline_defs.catalog`, one registry each.

    Attributes:
        images: By the name in the catalogue: processing, training and serving of one kind of model.
        pipelines: By the name in the catalogue.
        registries: By the name in the catalogue.
    """

    images: dict[str, ContainerImage]
    pipelines: dict[str, SageMakerPipeline]
    registries: dict[str, ModelRegistry]

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        data: IDataBucket,
    ) -> None:
        super().__init__(
            scope, construct_id, environment=environment, description="pipelines and model registries"
        )
        used = sorted({spec.family.image for spec in PIPELINES})
        self.images = {
            name: ContainerImage.build(
                self, BuildContext(folder=REPO / "training", dockerfile=IMAGES[name]), name=f"{name} image"
            )
            for name in used
        }
        self.registries = {}
        self.pipelines = {}
        modules = sorted({module for spec in PIPELINES for module in spec.code.values()})
        files = code_files_of(modules)
        code = {module: StepCode(root=REPO, files=files[module]) for module in modules}
        for spec in PIPELINES:
            # Refuses a definition that is older than the code that builds it.
            load_definition(spec)
            name = _pascal_case(spec.name)
            self.registries[spec.name] = ModelRegistry(
                self,
                f"{name}Registry",
                group_name=environment.named(spec.group),
                description=f"Models of pipeline {environment.named(spec.name)}",
                retention=environment.data.retention,
            )
            self.pipelines[spec.name] = SageMakerPipeline(
                self,
                f"{name}Pipeline",
                name=environment.named(spec.name),
                definition=definition_of(spec, environment),
                data=PipelineData(
                    bucket=data,
                    read=spec.reads,
                    write=(spec.writes,),
                ),
                image=self.images[spec.family.image],
                registry=self.registries[spec.name],
                code={placeholder: code[module] for placeholder, module in spec.code.items()},
                # What a custom resource makes, CloudFormation does not tag.
                tags=self.stage_tags,
            )
            CfnOutput(
                self,
                f"{name}PipelineName",
                value=self.pipelines[spec.name].pipeline_name,
                description=spec.name,
            )


def definition_of(spec: PipelineSpec, environment: Environment) -> PipelineDefinition:
    """The pipeline's committed definition with the defaults of a stage."""
    settings = environment.pipelines
    defaults = {
        "ProcessingInstanceType": settings.processing_instance_type,
        "TrainingInstanceType": settings.vision_training_instance_type
        if spec.family.image == "vision"
        else settings.training_instance_type,
        **settings.parameters.get(spec.name, {}),
    }
    return PipelineDefinition(
        path=spec.definition,
        parameter_defaults=defaults,
        parallelism=settings.parallelism,
        description=f"{spec.name} in {environment.name}",
    )


def _pascal_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))
