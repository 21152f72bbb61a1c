"""The operations of SageMaker Pipelines; importing this registers them."""

from localcloud.sagemaker.pipelines import (
    callback_operations,
    execution_operations,
    pipeline_operations,
    version_operations,
)

__all__ = ["callback_operations", "execution_operations", "pipeline_operations", "version_operations"]
