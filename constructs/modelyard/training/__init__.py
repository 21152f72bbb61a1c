"""Training on hosts that may vanish."""

from modelyard.training.monitoring import TrainingAlarms, TrainingMonitoring

__all__ = ["TrainingAlarms", "TrainingMonitoring"]
