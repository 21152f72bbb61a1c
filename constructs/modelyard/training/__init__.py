"""Training on hosts that may vanish."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.training.monitoring import TrainingAlarms, TrainingMonitoring

__all__ = ["TrainingAlarms", "TrainingMonitoring"]


def __getattr__(name: str) -> Any:
    # When asked for: below this package lies `runtime`, which programs without CDK import too.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.monitoring"), name)
