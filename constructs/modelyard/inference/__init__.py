"""Predictions over HTTPS."""

from modelyard.inference.inference_function import InferenceFunction
from modelyard.inference.props import Concurrency

__all__ = ["Concurrency", "InferenceFunction"]
