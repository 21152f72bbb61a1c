"""SageMaker pipelines from committed definitions."""

from modelyard.pipeline.props import PipelineData, PipelineDefinition, StepCode
from modelyard.pipeline.sagemaker_pipeline import SageMakerPipeline

__all__ = ["PipelineData", "PipelineDefinition", "SageMakerPipeline", "StepCode"]
