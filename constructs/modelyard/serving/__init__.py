"""Endpoints, their scaling, and the deployment of approved models onto them."""

from modelyard.serving.endpoint_scaling import EndpointScaling
from modelyard.serving.model_deployer import ModelDeployer
from modelyard.serving.multi_model_endpoint import MultiModelEndpoint
from modelyard.serving.props import DataCapture, ModelSource, Rollout, Scaling, ScheduledBounds, Variant
from modelyard.serving.record_table import RecordTable
from modelyard.serving.runtime.canary import Rules as CanaryRules

__all__ = [
    "CanaryRules",
    "DataCapture",
    "EndpointScaling",
    "ModelDeployer",
    "ModelSource",
    "MultiModelEndpoint",
    "RecordTable",
    "Rollout",
    "Scaling",
    "ScheduledBounds",
    "Variant",
]
