"""Model package groups."""

from modelyard.registry.model_registry import ModelRegistry

__all__ = ["ModelRegistry"]
