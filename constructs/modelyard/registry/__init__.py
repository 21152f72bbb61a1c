"""Model package groups."""

from modelyard.registry.model_registry import ModelRegistry, approval_rule

__all__ = ["ModelRegistry", "approval_rule"]
