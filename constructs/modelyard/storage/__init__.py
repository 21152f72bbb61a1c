"""Buckets for data and models."""

from modelyard.storage.bucket_access import IDataBucket
from modelyard.storage.data_bucket import DataBucket
from modelyard.storage.props import Lifecycle, Retention

__all__ = ["DataBucket", "IDataBucket", "Lifecycle", "Retention"]
