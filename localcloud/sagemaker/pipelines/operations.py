"""The operations of SageMaker Pipelines; importing this registers them."""

from localcloud.sagemaker.pipelines import execution_operations, pipeline_operations

__all__ = ["execution_operations", "pipeline_operations"]
