"""Buckets for data and models."""

from modelyard.storage.data_bucket import DataBucket
from modelyard.storage.props import Lifecycle, Retention

__all__ = ["DataBucket", "Lifecycle", "Retention"]
