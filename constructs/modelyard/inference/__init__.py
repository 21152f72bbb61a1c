"""Predictions over HTTPS."""

from modelyard.inference.image_source import ImageSource
from modelyard.inference.inference_function import InferenceFunction
from modelyard.inference.props import Concurrency, Release
from modelyard.inference.release import FunctionRelease

__all__ = ["Concurrency", "FunctionRelease", "ImageSource", "InferenceFunction", "Release"]
